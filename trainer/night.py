"""A night: choose → synthesise → resample → score → curate → fine-tune → evaluate → conduct → gate → canary.

This file tells the story. Each step's decisions are in the file of its name, `stages` makes a killed
night go on where it was, and `work` is how a night reaches the engine, the record and the registry.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

from infra.engine import BASE, Sampling
from infra.events import NightChanged
from trainer import cost, evaluate, gates, rehearsal, style, synthetic
from trainer.conduct import conduct, conducts
from trainer.curate import Group, curate
from trainer.evaluate import Answered, Prompted, Role
from trainer.gates import Verdict
from trainer.judged import Asked
from trainer.notes import (
    Chosen,
    Conduct,
    Curated,
    Deployed,
    Evaluation,
    Gated,
    NightResult,
    Registered,
    Rehearsed,
    Resampled,
    Scored,
    Synthesised,
)
from trainer.queries import Query, check_split
from trainer.question import MAX_TOKENS
from trainer.replay import replay
from trainer.resample import Sampled, resample
from trainer.reward.model import RewardModel
from trainer.stages import Stages
from trainer.suite import SuiteCase, read_suites
from trainer.summary import Summary, completion_events, deployment_event, evaluation_events
from trainer.trial import first_step
from trainer.variants import SERVED
from trainer.work import Work


async def run(work: Work, stages: Stages) -> NightResult:
    """Runs or resumes one night and says how it ended.

    Raises:
        NightError: the record or a stage does not allow the night to go on.
        EngineError: the engine or the agent stayed away for longer than our patience.
    """
    stages.tell("started", [NightChanged(night=stages.night, slot=stages.slot, state="started")])
    summary = Summary(work.settings, work.versions())

    chosen = summary.note(await stages.once("choose", Chosen, partial(_choose, work)))
    written = summary.note(
        await stages.once("synthesise", Synthesised, partial(_synthesise, work, stages, chosen))
    )
    chosen = chosen.joined(written.queries)
    resampled = summary.note(
        await stages.once("resample", Resampled, partial(_resample, work, stages, chosen))
    )
    scored = summary.note(await stages.once("score", Scored, partial(_score, work, chosen, resampled)))
    curated = summary.note(
        await stages.once("curate", Curated, partial(_curate, work, chosen, resampled, scored))
    )
    stages.tell("completions", completion_events(stages.night, chosen, resampled, scored, curated))
    if reason := too_few(curated, chosen, work.settings.trainer.min_rows):
        return _end(stages, summary, Verdict.NOT_ENOUGH_DATA, reason)

    # Once more: a night that was killed may go on after its suites have changed.
    check_split(chosen.known, frozenset(work.settings.trainer.held_out), _judged(work))
    rehearsed = summary.note(
        await stages.once("rehearse", Rehearsed, partial(_rehearse, work, stages, chosen))
    )
    registered = summary.note(
        await stages.once("finetune", Registered, partial(work.finetune, stages, chosen, curated, rehearsed))
    )
    suites = read_suites(work.settings.suites_dir)
    cases = [case for case in suites if not case.conduct]
    if not cases:
        return _end(
            stages, summary, Verdict.NOT_ENOUGH_DATA, "There is no suite to judge by: set trainer.suites."
        )
    evaluation = summary.note(
        await stages.once("evaluate", Evaluation, partial(_evaluate, work, stages, cases, chosen, registered))
    )
    stages.tell(
        "evaluations", evaluation_events(stages.night, cases, evaluation, chosen.stable, registered.adapter)
    )
    asked = [case for case in suites if case.conduct] + conduct(cases, work.settings.trainer.conduct)
    conducted = summary.note(
        await stages.once("conduct", Conduct, partial(_conduct, work, stages, asked, chosen, registered))
    )
    stages.tell(
        "conducted", evaluation_events(stages.night, asked, conducted, chosen.stable, registered.adapter)
    )
    gated = summary.note(await stages.once("gate", Gated, partial(_gate, work, cases, evaluation, conducted)))
    await stages.once("deploy", Deployed, partial(_deploy, work, stages, registered, gated))
    return _end(stages, summary, gated.verdict, gated.reason)


async def _choose(work: Work) -> Chosen:
    """Which logged queries to learn from, at a snapshot of the record that the manifest names."""
    return work.choose(_judged(work))


async def _synthesise(work: Work, stages: Stages, chosen: Chosen) -> Synthesised:
    """Questions of the night's own, to what the documents say, where customers have asked too few."""
    settings = work.settings.trainer
    serving = bool(work.deployment().wanted)
    lacking = synthetic.lacking(settings.synthetic, len(chosen.known), len(chosen.queries), serving)
    # GRPO does not weigh its rows.
    if not lacking or settings.method == "grpo":
        return Synthesised()
    known = await synthetic.facts(work.agent, settings.held_out, work.settings.engine.max_model_len)
    writer = synthetic.Writer(
        work.served(BASE),
        work.agent,
        synthetic.Taken(_judged(work), chosen.known),
        Sampling(MAX_TOKENS, settings.temperature, seed=settings.seed),
        settings.concurrency,
        stages.folder / "synthesise.jsonl",
    )
    pieces = synthetic.spread(known, chosen.known, settings.seed)
    return await writer.write(pieces, lacking, work.told("synthesise"))


def _judged(work: Work) -> list[Asked]:
    """The questions that suites judge by: nothing near them may be learned from."""
    return [(case.collection, case.question) for case in read_suites(work.settings.suites_dir)]


async def _resample(work: Work, stages: Stages, chosen: Chosen) -> Resampled:
    """N completions of each, from the model that answers customers now."""
    settings = work.settings.trainer
    judge = work.reward if settings.adaptive else None
    groups = await _sampled(work, stages, "resample", chosen, chosen.queries, judge, settings.variants)
    return Resampled(groups=tuple(groups))


async def _sampled(
    work: Work,
    stages: Stages,
    stage: str,
    chosen: Chosen,
    queries: Sequence[Query],
    judge: RewardModel | None = None,
    variants: Sequence[str] = (SERVED,),
) -> list[Sampled]:
    """A group for each of `queries` from the model that serves, as the settings say; see `resample`."""
    settings = work.settings.trainer
    return await resample(
        queries,
        work.served(chosen.stable or BASE),
        settings.samples,
        Sampling(work.settings.agent.max_tokens, settings.temperature, seed=settings.seed),
        settings.concurrency,
        stages.folder / f"{stage}.jsonl",
        work.told(stage),
        judge,
        variants,
    )


async def _score(work: Work, chosen: Chosen, resampled: Resampled) -> Scored:
    """The reward of each completion, from the retrieved facts alone."""
    return Scored.of(work.reward, chosen.queries, resampled.groups)


async def _curate(work: Work, chosen: Chosen, resampled: Resampled, scored: Scored) -> Curated:
    """What each group has to teach, and what earlier nights chose."""
    parts = zip(chosen.queries, resampled.groups, scored.rewards_Q_N, strict=True)
    groups = [Group(query, group.texts, rewards) for query, group, rewards in parts]
    method = work.settings.trainer.method
    return Curated(rows=tuple(curate(groups, method)), replayed=tuple(replay(chosen.remembered)))


async def _rehearse(work: Work, stages: Stages, chosen: Chosen) -> Rehearsed:
    """The serving model's own right answers to what no shop answers, what does harm, what gives orders."""
    settings = work.settings.trainer
    if not settings.rehearsal:
        return Rehearsed()
    collections = sorted({query.collection for query in chosen.known})
    cases = rehearsal.cases(collections, settings.rehearsal)
    asked = rehearsal.queries(cases, await evaluate.prompts(cases, work.agent, settings.concurrency))
    groups = await _sampled(work, stages, "rehearse", chosen, asked)
    rows = rehearsal.rows(cases, asked, groups, settings.method)
    return Rehearsed(rows=tuple(rows), asked=len(cases), tokens=sum(group.tokens for group in groups))


async def _evaluate(
    work: Work, stages: Stages, cases: Sequence[SuiteCase], chosen: Chosen, registered: Registered
) -> Evaluation:
    """Stable and candidate answer the same held-out cases, at temperature 0, through the serving engine."""
    prompted = await evaluate.prompts(cases, work.agent, work.settings.trainer.concurrency)
    await work.served(registered.adapter).probe(prompted[0].messages)
    asked = partial(_answers, work, stages, "evaluate", cases, prompted)
    stable = await asked("stable", chosen.stable or BASE)
    return Evaluation(prompts=prompted, stable=stable, candidate=await asked("candidate", registered.adapter))


async def _conduct(
    work: Work, stages: Stages, cases: Sequence[SuiteCase], chosen: Chosen, registered: Registered
) -> Conduct:
    """The same for what must not get worse, since the night before and since the base model."""
    prompted = await evaluate.prompts(cases, work.agent, work.settings.trainer.concurrency)
    asked = partial(_answers, work, stages, "conduct", cases, prompted)
    return Conduct(
        cases=tuple(cases),
        prompts=prompted,
        base=await asked("base", BASE) if chosen.stable else (),
        stable=await asked("stable", chosen.stable or BASE),
        candidate=await asked("candidate", registered.adapter),
    )


async def _answers(
    work: Work,
    stages: Stages,
    stage: str,
    cases: Sequence[SuiteCase],
    prompted: Sequence[Prompted],
    role: Role,
    model: str,
) -> tuple[Answered, ...]:
    """What one model answers to all cases."""
    return await evaluate.answers(
        list(zip(cases, prompted, strict=True)),
        work.served(model),
        Sampling(work.settings.agent.max_tokens),
        work.settings.trainer.concurrency,
        stages.folder / f"{stage}.{role}.jsonl",
        work.told(f"{stage} {role}"),
    )


async def _gate(work: Work, cases: Sequence[SuiteCase], evaluation: Evaluation, conducted: Conduct) -> Gated:
    """Every gate's verdict, and the night's: the worst of them."""
    trainer = work.settings.trainer
    terms = trainer.min_cases, trainer.alpha, trainer.seed
    pairs = evaluation.pairs(cases)
    groups, stable, candidate = [pair.group for pair in pairs], evaluation.stable, evaluation.candidate
    chose, judges = evaluation.rises(cases, work.reward), evaluation.rises(cases, work.second)
    judged = [
        gates.better(pairs, *terms),
        gates.rewarded(chose.by_group, *terms),
        gates.seconded(judges.by_group, work.second.name, *terms),
        style.brief(pairs, *terms),
        style.matched(pairs, *terms),
        style.varied(pairs, *terms),
        cost.tokens(groups, stable, candidate, *terms),
        cost.latency(groups, stable, candidate, *terms),
        gates.answered(pairs, trainer.min_cases),
    ]
    told: list[gates.Gate] = []
    decides = judged if trainer.conduct_gate else told
    decides += conducts(conducted, *terms)
    return Gated(
        gates=tuple(judged),
        told=tuple(told),
        rewards=chose.means,
        second=judges.means,
        second_model={"name": work.second.name, "version": work.second.version},
        verdict=gates.verdict(judged),
        reason=gates.reason(judged),
    )


async def _deploy(work: Work, stages: Stages, registered: Registered, gated: Gated) -> Deployed:
    """The canary begins, or a candidate that failed is refused for ever."""
    share, why = first_step(work.settings.canary, work.per_hour())
    change = deployment_event(stages.night, registered.adapter, gated, share, why)
    if change is None:
        return Deployed(action="none")
    stages.tell("deployment", [change])
    return Deployed(action=change.action)


def too_few(curated: Curated, chosen: Chosen, needed: int) -> str:
    """Why there is not enough to train on, or nothing. What is only replayed would teach the same again."""
    if curated.rows and len(curated.every) >= needed:
        return ""
    found = (
        f"{len(curated.rows)} of {len(chosen.queries)} questions have a clearly right answer to learn from"
    )
    if not curated.rows:
        return f"{found}: nothing is new since the last night that learned."
    return f"{found}, and {len(curated.replayed)} of earlier nights; {needed} are needed."


def _end(stages: Stages, summary: Summary, verdict: Verdict, reason: str) -> NightResult:
    """Tells the record how the night ended, with everything it measured."""
    manifest = summary.manifest(stages.seconds, verdict, reason)
    stages.tell("ended", [stages.ended(verdict, reason, summary.adapter, manifest)])
    return NightResult(night=stages.night, verdict=verdict, adapter=summary.adapter, reason=reason)
