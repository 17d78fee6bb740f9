"""Which models upstream has: asked for here alone, and remembered so that names resolve in every request."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any, Final
from urllib.parse import quote

import msgspec
from attrs import evolve, field, frozen
from twisted.internet.defer import Deferred
from twisted.internet.defer import TimeoutError as TookTooLong
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger
from twisted.web.http_headers import Headers

from .. import errors, names
from ..cards import Card, Document, cards, described, entries, may_ask_props
from .abilities import Abilities
from .client import Upstream

# Seconds. A client's discovery asks for tags and then for each model at once: one round of questions serves
# them all, and a model that was changed is seen at the next look.
FRESH: Final = 2.0
# Seconds for one question about models; llama-server answers them while it generates.
PATIENCE: Final = 10.0
# Seconds that a chat waits for its model's name: its client hears nothing meanwhile.
PATIENCE_OF_A_CHAT: Final = 1.0

# Upstream is not there. It is when it says 503 "Loading model", or refuses the key.
_AWAY: Final = (errors.UpstreamRefused, errors.UpstreamUnknown, errors.UpstreamLost, errors.UpstreamSlow)

_JSON: Final = Headers({b"content-type": [b"application/json"]})


def _now() -> datetime:
    return datetime.now(UTC)


@frozen
class Listing:
    """Upstream's models: their cards, and its own /v1/models document."""

    cards: list[Card] = field(factory=list)
    document: Document = field(factory=dict)

    def named(self, name: str) -> Card | None:
        """The model that a client calls `name`, in any spelling of Ollama's; as it is written comes first.

        Where no model has that name, a number is a position in the list: Copilot Chat 0.37 takes the index in
        /api/tags for the id of a model (microsoft/vscode#293770).
        """
        for same in (str, str.lower):
            for wanted in map(same, names.spellings(name)):
                for card in self.cards:
                    if wanted in (same(card.name), same(card.id)):
                        return card
        by_position = {str(position): card for position, card in enumerate(self.cards)}
        return by_position.get(name)

    def find(
        self, name: str, *, unknown: str = "model '{}' not found", invalid: str = "invalid model name"
    ) -> Card:
        """The model that a client of Ollama's API calls `name`.

        Raises BadRequest for what is no name, CloudDisabled for one at ollama.com, and UnknownModel, with the
        texts given: `{}` stands for the name in them.
        """
        card = self.named(name)
        if card is not None:
            return card
        if not names.is_valid(name):  # only now: what llama-server has may be called by a path
            raise errors.BadRequest(invalid.format(name))
        if names.is_cloud(name):
            raise errors.CloudDisabled("ollama cloud is disabled: remote model is unavailable")
        raise errors.UnknownModel(unknown.format(name))


class Models:
    """The models behind `upstream`; the log has a line whenever they change.

    `now` is the wall clock, which dates them; `headroom` is their cards'; `tell` is called
    with each of those lines, for people.
    """

    log = Logger()

    def __init__(
        self,
        upstream: Upstream,
        clock: IReactorTime,
        now: Callable[[], datetime] = _now,
        headroom: float = 0.0,
        tell: Callable[[str], None] = lambda news: None,
    ) -> None:
        self._upstream = upstream
        self._clock = clock
        self._headroom = headroom
        self._now = now
        self._tell_news = tell
        self._known = Listing()
        self._asked: float | None = None
        self._tried: float | None = None
        self._said = ""
        self._waiting: list[Deferred[Listing]] = []
        self._has_ollama_api = True
        self._abilities = Abilities(upstream)
        self._first_seen: dict[str, str] = {}

    async def listing(self) -> Listing:
        """Every model, at most two seconds old; as it was last, while upstream is away.

        Raises an UpstreamError where upstream never told its models, and while it loads: it may come back
        with another model, and clients keep what they are told of one.

        Callers at the same time share one round of questions; one that is cancelled leaves it to the others.
        """
        if self._asked is not None and self._clock.seconds() - self._asked < FRESH:
            return self._known
        waiting: Deferred[Listing] = Deferred()
        self._waiting.append(waiting)
        if len(self._waiting) == 1:
            Deferred.fromCoroutine(self._ask()).addBoth(self._tell)
        return await waiting

    def _tell(self, result: Any) -> None:
        told, self._waiting = self._waiting, []
        for waiting in told:
            if not waiting.called:
                waiting.callback(result)

    async def _ask(self) -> Listing:
        try:
            found = await self._look()
        except errors.UpstreamError as e:
            self._has_ollama_api = True  # what comes back may be another server
            self._abilities.forget()
            self._say(self.log.warn, e.message)
            if self._asked is None or not isinstance(e, _AWAY):
                raise
            return self._known
        self._known, self._asked = found, self._clock.seconds()
        self._say(self.log.info, "has " + (", ".join(map(described, found.cards)) or "no models"))
        return found

    def _say(self, say: Callable[..., None], news: str) -> None:
        """Log what upstream has, or why it cannot be asked, where that is news."""
        if news != self._said:
            self._said = news
            say("upstream {upstream}: {news}", upstream=self._upstream.shown, news=news)
            self._tell_news(f"upstream {self._upstream.shown}: {news}")

    async def _look(self) -> Listing:
        models = await self._document(b"/v1/models")
        tags = await self._document(b"/api/tags") if self._has_ollama_api else None
        self._has_ollama_api = tags is not None
        if models is None and tags is None:
            raise errors.UpstreamError(
                f"{self._upstream.shown} has neither /v1/models nor /api/tags: is it a llama-server?"
            )
        asked = [entry for entry in entries(models or {}, tags or {}) if may_ask_props(entry)]
        props = {entry["id"]: await self._props(entry) for entry in asked}
        abilities = {entry["id"]: await self._abilities.of(entry, props[entry["id"]]) for entry in asked}
        found = cards(models or {}, tags or {}, props, self._headroom, abilities)
        return Listing([self._dated(card) for card in found], models or {})

    def _dated(self, card: Card) -> Card:
        seen = self._first_seen.setdefault(card.digest, self._now().isoformat(timespec="microseconds"))
        return evolve(card, modified_at=seen)

    async def _props(self, entry: Document) -> Document:
        # a router loads the model that it is asked for, unless told not to
        router = f"?model={quote(entry['id'], safe='')}&autoload=false" if "status" in entry else ""
        try:
            return await self._document(f"/props{router}".encode("ascii")) or {}
        except errors.UpstreamError:
            if not router:
                raise
            return {}  # one of several models: the others are listed all the same

    async def _document(self, target: bytes, method: bytes = b"GET", body: bytes = b"") -> Document | None:
        """The JSON object at `target`, None where upstream has none there; raises an UpstreamError."""
        status, text = await self._upstream.fetch(method, target, _JSON, body, timeout=PATIENCE)
        there = self._upstream.shown
        if status == 503:
            raise errors.UpstreamLoading(
                f"llama-server at {there} is still loading its model: try again in a moment"
            )
        if status == 508:
            raise errors.UpstreamIsProxy(
                f"{there} is this proxy itself: llama-server usually listens on port 11433"
            )
        if status in (401, 403):
            raise errors.UpstreamError(
                f"llama-server at {there} refuses the key ({status}): put its --api-key into a file and name "
                "that as --upstream-key-file"
            )
        try:
            return msgspec.json.decode(text, type=dict[str, Any]) if status == 200 else None
        except msgspec.DecodeError:
            return None

    async def show(self, card: Card) -> Document:
        """Upstream's own /api/show for this model, empty where it has none."""
        if not self._has_ollama_api:
            return {}
        return await self._document(b"/api/show", b"POST", msgspec.json.encode({"model": card.id})) or {}

    async def learn(self, name: str) -> bool:
        """Ask upstream for its models where none is called `name`; whether one is now.

        It is not asked again for a while: in single-model mode llama-server answers to any name. Raises
        where nobody is there to be asked, for the request that needs the name would only find out again.
        """
        now = self._clock.seconds()
        stale = self._tried is None or now - self._tried > PATIENCE
        if self._known.named(name) is not None or not (stale or self._waiting):
            return False
        self._tried = now
        try:
            await Deferred.fromCoroutine(self.listing()).addTimeout(PATIENCE_OF_A_CHAT, self._clock)
        except (errors.UpstreamRefused, errors.UpstreamUnknown):
            raise
        except (errors.UpstreamError, TookTooLong):
            return False  # the request itself will tell what is wrong
        return self._known.named(name) is not None

    def known(self, name: str) -> Card | None:
        """The card of the model that a client calls `name`, as upstream was seen last."""
        return self._known.named(name)

    def resolve(self, name: str) -> str:
        """What upstream calls the model that a client calls `name`; a name nobody knows stays as it is."""
        card = self._known.named(name)
        return name if card is None else card.id
