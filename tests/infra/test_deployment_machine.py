"""The life of adapters explored step by step: 10,000 decisions by trainer and operators, in any order.

Each decision goes through its bytes, as on the topic, and customers are routed after each.
"""

from __future__ import annotations

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from agent.routing import choose
from infra.deployment import Deployment, apply, fold
from infra.events import Arm, DeploymentChanged, Event

# Three contents; the second night produced the first one's again.
ADAPTERS = [f"ns-{day}-{letter * 12}" for day in ("20260101", "20260102") for letter in "abc"]
adapters = st.sampled_from(ADAPTERS)
any_adapter = st.sampled_from(["", *ADAPTERS])
shares = st.sampled_from([0.0, 0.01, 0.25, 0.5, 1.0])


class Life(RuleBasedStateMachine):
    """`state` is the fold; `topic` holds what was decided, as bytes."""

    def __init__(self) -> None:
        super().__init__()
        self.state = Deployment()
        self.before = Deployment()
        self.topic: list[bytes] = []
        self.refused: set[str] = set()  # contents that were taken back, rejected or switched off

    def decide(self, action: str, adapter: str = "", share: float = 0.0) -> None:
        body = DeploymentChanged.model_validate(
            {"action": action, "adapter": adapter, "share": share}
            | {"actor": "machine", "reason": f"to see {action}", "evidence": {"step": len(self.topic)}}
        )
        self.topic.append(Event.of(body, "deployments").encode())
        parsed = Event.decode(self.topic[-1]).parse()
        assert isinstance(parsed, DeploymentChanged)
        self.before, self.state = self.state, apply(self.state, parsed)

    @rule(adapter=adapters, share=shares)
    def start(self, adapter: str, share: float) -> None:
        self.decide("canary", adapter, share)
        free = not self.before.canary and adapter != self.before.stable
        if free and adapter[-12:] not in self.refused:
            assert (self.state.canary, self.state.share, self.state.paused) == (adapter, share, False)
        else:
            assert self.unchanged()

    @rule(adapter=any_adapter, share=shares)
    def step(self, adapter: str, share: float) -> None:
        self.decide("share", adapter, share)
        assert self.state.share == (share if adapter and adapter == self.before.canary else self.before.share)

    @rule(adapter=any_adapter, action=st.sampled_from(["pause", "resume"]))
    def hold(self, adapter: str, action: str) -> None:
        self.decide(action, adapter)
        if self.before.canary and adapter in ("", self.before.canary):
            assert self.state.paused is (action == "pause")

    @rule(adapter=adapters)
    def promote(self, adapter: str) -> None:
        self.decide("promote", adapter)
        if adapter[-12:] not in self.refused and adapter != self.before.stable:
            assert (self.state.stable, self.state.canary) == (adapter, "")

    @rule(adapter=any_adapter)
    def roll_back(self, adapter: str) -> None:
        self.decide("roll_back", adapter)
        newest = self.before.canary or self.before.stable
        taken = newest if not adapter else adapter if adapter in self.before.wanted else ""
        if taken:
            self.refused.add(taken[-12:])
            assert taken not in self.state.wanted

    @rule(adapter=adapters)
    def reject(self, adapter: str) -> None:
        self.decide("reject", adapter)
        if adapter not in self.before.wanted:
            self.refused.add(adapter[-12:])

    @rule()
    def base(self) -> None:
        self.decide("base")
        self.refused |= {adapter[-12:] for adapter in self.before.wanted}
        assert self.state.wanted == ()

    @invariant()
    def one_canary_that_is_not_stable(self) -> None:
        assert not self.state.canary or self.state.canary != self.state.stable

    @invariant()
    def no_share_without_a_canary(self) -> None:
        assert self.state.canary or (self.state.share, self.state.paused) == (0.0, False)

    @invariant()
    def stable_is_loaded_and_a_trial_leaves_it_alone(self) -> None:
        assert not self.state.stable or self.state.wanted[0] == self.state.stable
        if self.topic and (body := Event.decode(self.topic[-1]).body)["action"] in (
            "canary",
            "share",
            "pause",
        ):
            assert self.state.stable == self.before.stable, body

    @invariant()
    def what_was_denied_serves_nobody(self) -> None:
        """Whatever happens to be loaded, whichever conversation it is."""
        for conversation in ("one", "two", "three"):
            route = choose(conversation, self.state, frozenset(ADAPTERS), frozenset())
            assert not {adapter[-12:] for adapter in route.adapters} & self.refused
            assert route.arm is Arm.STABLE or self.state.share > 0.0

    @invariant()
    def refused_is_for_ever(self) -> None:
        assert {adapter[-12:] for adapter in self.state.denied} == self.refused

    def unchanged(self) -> bool:
        kept = (self.before.stable, self.before.canary, self.before.share, self.before.denied)
        return kept == (self.state.stable, self.state.canary, self.state.share, self.state.denied)

    def teardown(self) -> None:
        """Every transition is kept with who, why and on what evidence, and gives the same state again."""
        bodies = []
        for step, line in enumerate(self.topic):
            body = Event.decode(line).parse()
            assert isinstance(body, DeploymentChanged)
            assert (body.actor, body.evidence["step"]) == ("machine", step)
            assert body.reason == f"to see {body.action}"
            bodies.append(body)
        assert fold(bodies) == self.state


TestLife = Life.TestCase
TestLife.settings = settings(
    max_examples=200, stateful_step_count=50, deadline=None, suppress_health_check=[HealthCheck.too_slow]
)
