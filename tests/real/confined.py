"""What is left to a program of the kernel's calls where a unit's SystemCallFilter= and memory rule hold?

    python tests/real/confined.py UNIT COMMAND...

runs the command as systemd would, in these two things, by the library that systemd uses. Needs no root.
"""

import ctypes
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

# linux/prctl.h
PR_SET_NO_NEW_PRIVS = 38
PR_SET_MDWE, PR_MDWE_REFUSE_EXEC_GAIN = 65, 1  # since Linux 6.3: no memory that was written to is executed
# seccomp.h
SCMP_ACT_ALLOW, SCMP_ACT_ERRNO_EPERM = 0x7FFF0000, 0x00050001

SHOW_GROUP = ("systemd-analyze", "syscall-filter", "--no-pager")
FILTER = "SystemCallFilter="
# systemd.exec(5): these are allowed whatever the list says
ALWAYS = {"execve", "exit", "exit_group", "getrlimit", "rt_sigreturn", "sigreturn"}


def calls(name: str) -> Iterator[str]:
    """The system calls of one of systemd's groups, or the one that is named."""
    if not name.startswith("@"):
        yield name
        return
    shown = subprocess.run([*SHOW_GROUP, name], check=True, capture_output=True, text=True).stdout
    for line in shown.splitlines()[1:]:
        if line.strip() and not line.strip().startswith("#"):
            yield from calls(line.strip())


def allowed(unit: str) -> set[str]:
    """The system calls that a unit allows: its first list, without what the lists with ~ take away."""
    found = set(ALWAYS)
    for line in unit.splitlines():
        if line.startswith(FILTER):
            words = line.removeprefix(FILTER)
            group = {call for word in words.removeprefix("~").split() for call in calls(word)}
            found = found - group if words.startswith("~") else found | group
    return found


def confine(names: set[str]) -> None:
    """Let this process, and all that it starts, make these calls and get EPERM for all others."""
    libc = ctypes.CDLL(None, use_errno=True)
    libc.prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
    libc.prctl(PR_SET_MDWE, PR_MDWE_REFUSE_EXEC_GAIN, 0, 0, 0)
    seccomp = ctypes.CDLL("libseccomp.so.2")
    seccomp.seccomp_init.restype = ctypes.c_void_p
    rules = ctypes.c_void_p(seccomp.seccomp_init(SCMP_ACT_ERRNO_EPERM))
    for name in sorted(names):
        number = seccomp.seccomp_syscall_resolve_name(name.encode())
        if number >= 0:  # the others are of other machines
            assert seccomp.seccomp_rule_add(rules, SCMP_ACT_ALLOW, number, 0) == 0, name
    assert seccomp.seccomp_load(rules) == 0


if __name__ == "__main__":
    confine(allowed(Path(sys.argv[1]).read_text()))
    os.execvp(sys.argv[2], sys.argv[2:])  # noqa: S606
