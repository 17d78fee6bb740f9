"""How are the images built and run where Docker or Podman is, and where neither is?

Without them it takes root on Debian. buildah builds over a file system made by debootstrap, with Debian's own
Python, which stands for every image that the Dockerfile takes from a registry. What runs it is the kernel
alone, through unshare(1): a mount and a PID namespace, the image's user without capabilities and, with
--read-only, a root that nobody can write to. There is no limit on memory and no filter of system calls.

The images are copilot-proxy:STAGE. SIGTERM and SIGINT are passed on to a container that runs.
"""

import argparse
import json
import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NoReturn

NAME = "copilot-proxy"
HOME = Path(os.environ.get("CONTAINER_HOME") or "~/.cache/copilot-proxy-container").expanduser()
RELEASE = "bookworm"
PACKAGES = "python3,python3-venv,ca-certificates"
PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

# In a mount namespace of its own; $1 is the root, $2 and $3 are set or empty, the rest is the command.
INSIDE = """
set -eu
root=$1 read_only=$2 alone=$3
shift 3
mount --bind "$root" "$root"
cd "$root"
mount --rbind /dev dev
mount -t proc proc proc
[ -z "$alone" ] || ip link set lo up
printf '127.0.0.1 localhost\\n::1 localhost\\n' >etc/hosts
if [ -n "$read_only" ]; then
    mount -o remount,bind,ro "$root"
    mount -t tmpfs -o mode=1777 tmpfs tmp
fi
exec chroot . "$@"
"""


def run(*command: str | Path) -> str:
    """What a command prints; its errors are shown. Ends the process where it fails."""
    done = subprocess.run([*map(str, command)], stdout=subprocess.PIPE, text=True)  # noqa: S603
    if done.returncode:
        raise SystemExit(f"{command[0]} failed:\n{done.stdout}")
    return done.stdout.strip()


def replace_by(*command: str) -> NoReturn:
    """Go on as that command, with this process's id."""
    os.execvp(command[0], command)  # noqa: S606


# ---------------------------------------------------------------- with Docker or Podman


def engine() -> str | None:
    """Docker or Podman, whichever works here."""
    for name in filter(shutil.which, ("docker", "podman")):
        if subprocess.run([name, "info"], capture_output=True).returncode == 0:  # noqa: S603
            return name
    return None


def build_with(engine: str, stage: str) -> NoReturn:
    options = ["--format=docker"] if engine == "podman" else []  # its own format has no HEALTHCHECK
    replace_by(engine, "build", *options, "--target", stage, "--tag", f"{NAME}:{stage}", ".")


def run_with(engine: str, chosen: argparse.Namespace) -> NoReturn:
    options = [f"--network={chosen.network}", *(f"--env={setting}" for setting in chosen.env)]
    if chosen.read_only:
        options += ["--read-only", "--tmpfs=/tmp"]
    if chosen.entrypoint:
        options += [f"--entrypoint={chosen.entrypoint}"]
    hardened = ["--cap-drop=ALL", "--security-opt=no-new-privileges"]
    replace_by(engine, "run", "--rm", *hardened, *options, f"{NAME}:{chosen.stage}", *chosen.argument)


# ---------------------------------------------------------------- with neither


def prepare() -> None:
    """Have buildah and debootstrap, and let buildah keep its images below HOME."""
    if os.getuid() != 0 or not shutil.which("apt-get"):
        raise SystemExit("neither docker nor podman works here; without them this needs root on Debian")
    missing = [name for name in ("buildah", "debootstrap") if not shutil.which(name)]
    if missing:
        run("apt-get", "update", "-qq")
        run("apt-get", "install", "-y", "-qq", *missing)
    HOME.mkdir(parents=True, exist_ok=True)
    storage = HOME / "storage.conf"
    # vfs is the one driver that needs nothing of the kernel or of the file system below it
    storage.write_text(f'[storage]\ndriver = "vfs"\nrunroot = "{HOME}/run"\ngraphroot = "{HOME}/graph"\n')
    os.environ |= {"CONTAINERS_STORAGE_CONF": str(storage), "BUILDAH_ISOLATION": "chroot"}


def mirror() -> str:
    """The address at which apt finds Debian."""
    for source in Path("/etc/apt").rglob("*.sources"):
        if found := re.search(r"^URIs:\s*(\S+)", source.read_text(), re.MULTILINE):
            return found[1]
    return "http://deb.debian.org/debian"


def base() -> Path:
    """The file system that stands for the images of a registry; made once."""
    root, done = HOME / "rootfs", HOME / "rootfs.done"
    if not done.exists():
        shutil.rmtree(root, ignore_errors=True)
        run("debootstrap", "--variant=minbase", f"--include={PACKAGES}", RELEASE, root, mirror())
        # pip and apt in there ask whom they ask here
        for path in ("/etc/resolv.conf", "/etc/ssl/certs/ca-certificates.crt", "/etc/pip.conf"):
            if Path(path).exists():
                shutil.copy(path, f"{root}{path}")
        for source in Path("/etc/apt/sources.list.d").glob("*.sources"):
            shutil.copy(source, f"{root}{source}")
        (root / "usr/bin/python").symlink_to("python3")
        done.touch()
    return root


def import_base(dockerfile: str) -> None:
    """Give the base every name that a FROM asks a registry for."""
    stages = re.findall(r"(?m)^FROM \S+ AS (\S+)$", dockerfile)
    for name in set(re.findall(r"(?m)^FROM (\S+)", dockerfile)) - set(stages):
        full = f"docker.io/library/{name}"
        if run("buildah", "images", "--quiet", "--filter", f"reference={full}"):
            continue
        container = run("buildah", "from", "scratch")
        run("buildah", "add", "--quiet", container, base(), "/")
        run("buildah", "config", "--env", f"PATH={PATH}", container)
        run("buildah", "commit", "--quiet", "--rm", container, full)


def build_alone(stage: str) -> NoReturn:
    prepare()
    import_base(Path("Dockerfile").read_text())
    options = ["--pull-never", "--network=host", "--format=docker", f"--target={stage}"]
    command = ["buildah", "build", *options, f"--tag={NAME}:{stage}", "."]
    status = subprocess.run(command).returncode  # noqa: S603
    if status == 0:  # the copy for all who do not write to it: vfs takes its time to make one
        if unchanging(stage) in run("buildah", "containers", "--format={{.ContainerName}}").split():
            run("buildah", "rm", unchanging(stage))
        run("buildah", "from", "--pull-never", f"--name={unchanging(stage)}", f"localhost/{NAME}:{stage}")
    raise SystemExit(status)


def unchanging(stage: str) -> str:
    return f"{NAME}-{stage}"


def run_alone(chosen: argparse.Namespace) -> NoReturn:
    prepare()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))  # what is half made is removed
    image = f"localhost/{NAME}:{chosen.stage}"
    config = json.loads(run("buildah", "inspect", "--type=image", image))["Docker"]["config"]
    shared = unchanging(chosen.stage) if chosen.read_only else None
    container = shared or run("buildah", "from", "--pull-never", image)
    try:
        raise SystemExit(wait(start(run("buildah", "mount", container), config, chosen)))
    finally:
        if not shared:
            run("buildah", "rm", container)


def start(root: str, config: Mapping[str, Any], chosen: argparse.Namespace) -> "subprocess.Popen[bytes]":
    """Run what the image and the command line say in the file system at `root`."""
    user, _, group = config["User"].partition(":")
    # If this program is killed, all of it ends: a change of the user clears what --kill-child has set.
    namespaces = ["--mount", "--pid", "--fork", "--kill-child"]
    flags = ["yes" if chosen.read_only else "", ""]
    if chosen.network == "none":
        namespaces += ["--net"]
        flags[1] = "yes"
    outside = ["setpriv", "--pdeathsig=KILL", "unshare", *namespaces, "sh", "-c", INSIDE, "sh", root, *flags]
    identity = [f"--reuid={user or 0}", f"--regid={group or 0}", "--clear-groups"]
    inside = ["setpriv", "--pdeathsig=KILL", *identity, "--no-new-privs", "--bounding-set=-all"]
    inside += ["env", "-i", f"--chdir={config['WorkingDir'] or '/'}", "HOME=/", *config["Env"], *chosen.env]
    if chosen.entrypoint:
        command = [chosen.entrypoint, *chosen.argument]
    else:
        command = [*(config["Entrypoint"] or []), *(chosen.argument or config["Cmd"] or [])]
    # a group of its own: a Ctrl-C is for this program, which passes it on once
    return subprocess.Popen([*outside, *inside, *command], process_group=0)  # noqa: S603


def wait(unshare: "subprocess.Popen[bytes]") -> int:
    """The status of what runs; unshare(1) heeds no signal while it waits for its one child."""
    children = Path(f"/proc/{unshare.pid}/task/{unshare.pid}/children")

    def pass_on(number: int, _: object) -> None:
        for child in children.read_text().split():
            os.kill(int(child), number)

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, pass_on)
    return unshare.wait()


# ---------------------------------------------------------------- the command line


def options(arguments: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="scripts/container", description="Build and run the images, with Docker, Podman or neither."
    )
    verbs = parser.add_subparsers(dest="verb", required=True)
    build = verbs.add_parser("build", help="make the image copilot-proxy:STAGE")
    build.add_argument("stage", help="prod, embedded or dev")
    start = verbs.add_parser("run", help="run it until it ends, then remove the container")
    start.add_argument("--env", "-e", action="append", default=[], metavar="NAME=VALUE")
    start.add_argument("--read-only", action="store_true", help="no writing but in memory, below /tmp")
    start.add_argument("--network", choices=("host", "none"), default="host", help="default: host")
    start.add_argument("--entrypoint", help="the program to run in the place of the image's")
    start.add_argument("stage")
    start.add_argument("argument", nargs=argparse.REMAINDER)
    return parser.parse_args(arguments)


def main() -> None:
    chosen = options(sys.argv[1:])
    found = engine()
    if chosen.verb == "build":
        build_with(found, chosen.stage) if found else build_alone(chosen.stage)
    else:
        run_with(found, chosen) if found else run_alone(chosen)


if __name__ == "__main__":
    main()
