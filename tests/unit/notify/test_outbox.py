"""What a sink has still to tell."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamproc.messages import Alert
from streamproc.notify.outbox import (
    GIVE_UP_MS,
    MOST_OVER,
    OVER,
    REPEAT_OVER_MS,
    News,
    Outbox,
)
from tests.alert_steps import step

Told = list[tuple[str, str, str | None]]


def outbox_of(steps: list[Alert], told_until: int | None = 0, repeats: bool = False) -> Outbox:
    """Return an outbox that has read these steps to their end."""
    outbox = Outbox(told_until, repeats)
    for offset, each in enumerate(steps):
        outbox.take(each, offset, time_ms=offset)
    outbox.begin(len(steps))
    return outbox


def told(news: list[News]) -> Told:
    """Return what is told: the key, the status, and the status that was told before."""
    return [(n.alert["key"], n.alert["status"], n.before and n.before["status"]) for n in news]


def tell_all(outbox: Outbox) -> Told:
    """Tell a sink that takes all."""
    news = outbox.due(0.0, 1_000)
    outbox.settle(news, told=True)
    return told(news)


def test_at_a_first_start_only_what_is_open_is_told() -> None:
    """A history of alerts that are long over says nothing; what is open is told as it is now."""
    history = [step("a"), step("b"), step("a", "resolved"), step("b", "update"), step("c")]

    outbox = outbox_of([*history, step("d", silenced=True)], told_until=None)

    assert outbox.dealt_with is None
    assert tell_all(outbox) == [("c", "open", None), ("b", "update", None)][::-1]
    assert outbox.dealt_with == 6


def test_a_first_start_that_told_nothing_is_one_again() -> None:
    """Until what was open has been told there is no offset: the next start isn't told the past."""
    outbox = outbox_of([step("a"), step("b"), step("b", "resolved")], told_until=None)
    outbox.put_off(outbox.due(0.0, 9), due_s=1.0)
    outbox.take(step("c"), 3, 3)

    assert outbox.dealt_with is None
    assert told(outbox.due(0.0, 9)) == [("c", "open", None)]


def test_nothing_is_told_twice_after_a_restart() -> None:
    """What was told is known, and what came since is told with what it follows."""
    outbox = outbox_of([step("a"), step("b"), step("a", "update"), step("c")], told_until=2)

    assert tell_all(outbox) == [("a", "update", "open"), ("c", "open", None)]
    outbox.take(step("b", "resolved"), 4, 4)
    assert tell_all(outbox) == [("b", "resolved", "open")]
    assert outbox.due(0.0, 9) == []


def test_a_topic_that_was_made_anew_is_a_first_start() -> None:
    """An offset beyond the end says nothing of the records that are there now."""
    outbox = outbox_of([step("a"), step("b"), step("b", "resolved")], told_until=900)

    assert tell_all(outbox) == [("a", "open", None)]
    assert outbox.dealt_with == 3


def test_what_went_on_meanwhile_is_told_once_as_it_is() -> None:
    """An alert that opened, got worse and ended while nobody could be told is one message."""
    outbox = outbox_of([step("a"), step("b"), step("a", "update"), step("a", "resolved")])

    assert told(outbox.due(0.0, 9)) == [("a", "resolved", None), ("b", "open", None)]
    assert outbox.dealt_with == 0


def test_the_next_alert_of_a_key_is_another() -> None:
    """What is over by its id, and what opened under the same key, are told one after the other."""
    first, second = step("a", alert_id="1"), step("a", alert_id="2")
    outbox = outbox_of([first, step("a", "resolved", alert_id="1"), second])

    news = outbox.due(0.0, 9)

    assert [(each.alert["alert_id"], each.before) for each in news] == [("1", None), ("2", None)]


def test_what_is_put_off_lets_the_others_pass_and_holds_the_offset() -> None:
    """A step that fails is told later; a start meanwhile would tell it, too."""
    outbox = outbox_of([step("a"), step("b"), step("c")])

    outbox.put_off(outbox.due(0.0, 1), due_s=5.0)
    assert tell_all(outbox) == [("b", "open", None), ("c", "open", None)]

    assert outbox.dealt_with == 0
    assert outbox.oldest_ms == 0
    assert outbox.due(4.9, 9) == []
    assert told(outbox.due(5.0, 9)) == [("a", "open", None)]


def test_what_failed_goes_behind_the_others() -> None:
    """Also where the time for another try has come before theirs."""
    outbox = outbox_of([step("a"), step("b"), step("c")])

    outbox.put_off(outbox.due(0.0, 1), due_s=0.0)

    assert [key for key, *_ in told(outbox.due(0.0, 9))] == ["b", "c", "a"]


def test_what_is_refused_is_told_no_more_until_it_goes_on() -> None:
    """A sink that said no to a step is asked about the next one, as of an alert it doesn't know."""
    outbox = outbox_of([step("a")])

    outbox.settle(outbox.due(0.0, 9), told=False)

    assert outbox.due(0.0, 9) == []
    assert outbox.dealt_with == 1
    outbox.take(step("a", "update"), 1, 1)
    assert told(outbox.due(0.0, 9)) == [("a", "update", None)]


def test_open_alerts_are_repeated_and_ended_ones_for_a_while() -> None:
    """A sink that forgets hears all of what is open, also what an earlier run told it."""
    outbox = outbox_of([step("a"), step("b"), step("b", "resolved")], told_until=3, repeats=True)
    assert outbox.due(0.0, 9) == []

    outbox.repeat(now_ms=REPEAT_OVER_MS)
    outbox.repeat(now_ms=REPEAT_OVER_MS)  # before it could be told: once is enough

    assert (outbox.dealt_with, outbox.oldest_ms) == (3, None)
    assert tell_all(outbox) == [("a", "open", "open"), ("b", "resolved", "resolved")]
    outbox.repeat(now_ms=REPEAT_OVER_MS + 3)
    assert tell_all(outbox) == [("a", "open", "open")]


def test_a_step_that_comes_while_a_repetition_waits_is_news() -> None:
    """It counts as untold from then on."""
    outbox = outbox_of([step("a")], told_until=1, repeats=True)
    outbox.repeat(now_ms=0)

    outbox.take(step("a", "resolved"), 1, 77)

    assert (outbox.dealt_with, outbox.oldest_ms) == (1, 77)
    assert tell_all(outbox) == [("a", "resolved", "open")]
    assert outbox.dealt_with == 2


def test_what_is_over_for_days_is_given_up_and_what_is_open_never() -> None:
    """A sink that was away over a week is told what is so now."""
    outbox = outbox_of([step("a"), step("b"), step("b", "resolved")])

    assert outbox.give_up(GIVE_UP_MS) == []
    assert told(outbox.give_up(GIVE_UP_MS + 3)) == [("b", "resolved", None)]
    assert told(outbox.due(0.0, 9)) == [("a", "open", None)]


def test_what_waits_is_bounded() -> None:
    """Of more than a thousand alerts that are over, the oldest are given up."""
    keys = [f"k{number}" for number in range(MOST_OVER + 2)]
    steps = [each for key in keys for each in (step(key), step(key, "resolved"))]
    outbox = outbox_of([step("open"), *steps])

    gone = outbox.give_up(now_ms=0)

    assert [each.alert["key"] for each in gone] == keys[:2]
    assert len(outbox.due(0.0, 9_999)) == MOST_OVER + 1


def test_a_key_that_was_taken_away_is_forgotten() -> None:
    """Who deletes a key from the topic ends what is told of it."""
    outbox = outbox_of([step("a"), step("b")], repeats=True)

    outbox.forget("a", 2)
    outbox.repeat(0)

    assert [key for key, *_ in tell_all(outbox)] == ["b"]
    assert outbox.dealt_with == 3


ACTIONS = st.lists(
    st.sampled_from(["step 0", "step 1", "step 2", "tell", "fail", "commit", "crash", "repeat"]),
    max_size=40,
)


@given(ACTIONS, st.booleans())
def test_whatever_happens_nothing_is_lost(actions: list[str], repeats: bool) -> None:
    """With failures and crashes at random, the sink ends up knowing how every alert stands.

    It is written down here what a sink was told last of each alert, and what the topic says.
    """
    topic: list[Alert] = []
    lives = [0, 0, 0]  # how many steps each key has had: open, update, resolved, and again
    knows: dict[str, str] = {}
    committed = 0
    outbox = Outbox(committed, repeats)
    outbox.begin(0)

    def tell() -> None:
        news = outbox.due(0.0, 2)
        knows.update((each.alert["alert_id"], each.alert["status"]) for each in news)
        outbox.settle(news, told=True)

    for action in actions:
        if action.startswith("step"):
            key = int(action[-1])
            episode, at = divmod(lives[key], 3)
            lives[key] += 1
            status = ("open", "update", "resolved")[at]
            topic.append(step(str(key), status, alert_id=f"{key}-{episode}"))
            outbox.take(topic[-1], len(topic) - 1, len(topic))
        elif action == "tell":
            tell()
        elif action == "fail":
            outbox.put_off(outbox.due(0.0, 2), due_s=-1.0)
        elif action == "repeat" and repeats:
            outbox.repeat(0)
        elif action == "commit":
            before, committed = committed, outbox.dealt_with or 0
            assert committed >= before
        elif action == "crash":
            outbox = outbox_of(topic, committed, repeats)
    while outbox.due(0.0, 2):
        tell()

    stands = {each["alert_id"]: each["status"] for each in topic}
    assert knows == stands
    assert outbox.dealt_with == len(topic)


def test_what_is_silenced_is_told_to_nobody_until_the_time_is_over() -> None:
    """Nor does it wait; what is open then is news, with its opening untold."""
    outbox = outbox_of([])
    outbox.take(step("a", silenced=True), 0, 0)
    outbox.take(step("a", "update", silenced=True, reason="graver"), 1, 1)

    assert (outbox.due(0.0, 9), outbox.dealt_with) == ([], 2)
    outbox.take(step("a", "update", reason="unsilenced"), 2, 2)
    assert tell_all(outbox) == [("a", "update", None)]


def test_what_is_silenced_before_it_could_be_told_is_withdrawn() -> None:
    """A sink that is away hears nothing of it when it is back, nor of its end."""
    outbox = outbox_of([step("a")])
    outbox.put_off(outbox.due(0.0, 9), due_s=1.0)

    outbox.take(step("a", "update", silenced=True, reason="silenced"), 1, 1)
    outbox.take(step("a", "resolved", silenced=True), 2, 2)

    assert (outbox.due(9.0, 9), outbox.dealt_with) == ([], 3)


@pytest.mark.parametrize("restarts", [False, True])
def test_the_end_of_what_was_told_is_told_though_it_is_silenced(restarts: bool) -> None:
    """Or it would stand there as open for good; of what nobody heard nobody hears the end."""
    steps = [
        step("a"),
        step("b", silenced=True),
        step("a", "update", silenced=True, reason="silenced"),
    ]
    outbox = outbox_of(steps[:2])
    assert tell_all(outbox) == [("a", "open", None)]
    outbox.take(steps[2], 2, 2)
    if restarts:
        outbox = outbox_of(steps, told_until=3)

    outbox.take(step("b", "resolved", silenced=True), 3, 3)
    outbox.take(step("a", "resolved", silenced=True), 4, 4)

    assert [key for key, *_ in tell_all(outbox)] == ["a"]


def test_that_end_is_told_though_the_first_step_was_compacted_away() -> None:
    """A restart sees the last step of a key alone, which says that it was told before."""
    outbox = Outbox(told_until=2)
    outbox.take(step("a", "update", silenced=True, reason="silenced"), 1, 1)
    outbox.begin(2)
    outbox.take(step("a", "resolved", silenced=True), 2, 2)

    assert [(key, status) for key, status, _ in tell_all(outbox)] == [("a", "resolved")]


def test_what_somebody_has_taken_up_is_told_when_it_is_graver_alone() -> None:
    """And when it ends; a sink that keeps how things stand is told all."""
    mine = {"acknowledged_by": "ada"}
    steps = [
        step("a"),
        step("a", "update", reason="acknowledged", **mine),
        step("a", "update", reason="worse", **mine),
        step("a", "update", reason="graver", **mine),
        step("a", "update", reason="wider", **mine),
        step("a", "resolved", reason="recovered", **mine),
    ]
    heard: dict[bool, list[str | None]] = {False: [], True: []}
    for repeats, told_ in heard.items():
        outbox = Outbox(0, repeats)
        outbox.begin(0)
        for offset, each in enumerate(steps):
            outbox.take(each, offset, offset)
            news = outbox.due(0.0, 9)
            told_.extend(one.alert.get("reason") for one in news)
            outbox.settle(news, told=True)

    assert heard[False] == [None, "acknowledged", "graver", "recovered"]
    assert heard[True] == [None, "acknowledged", "worse", "graver", "wider", "recovered"]


def test_a_sink_that_keeps_how_things_stand_has_nothing_that_is_silenced() -> None:
    """It ends there once, is repeated as that for a while, and opens again when the time is over.

    What was silenced from the beginning it is never told of.
    """
    outbox = outbox_of([step("a"), step("b", silenced=True)], repeats=True)
    assert tell_all(outbox) == [("a", "open", None)]

    outbox.take(step("a", "update", silenced=True, reason="silenced"), 2, 2)
    assert tell_all(outbox) == [("a", "update", "open")]
    outbox.take(step("a", "update", silenced=True, reason="worse"), 3, 3)
    outbox.take(step("a", "resolved", silenced=True), 4, 4)
    assert tell_all(outbox) == []
    outbox.repeat(5)
    assert tell_all(outbox) == [("a", "resolved", "update")]
    outbox.repeat(REPEAT_OVER_MS + 5)
    assert outbox.due(0.0, 9) == []


def test_an_alert_that_opens_again_is_told_again() -> None:
    """One id may: what was told last is then its end."""
    for repeats in (False, True):
        outbox = outbox_of([step("a"), step("a", "resolved")], repeats=repeats)
        tell_all(outbox)

        outbox.take(step("a", reason="reopened"), 2, 2)

        assert [each[:2] for each in tell_all(outbox)] == [("a", "open")]


@given(
    st.lists(st.tuples(st.integers(0, 1), st.booleans(), st.booleans()), max_size=30),
    st.booleans(),
)
def test_no_silence_is_broken_and_none_is_left(
    lives: list[tuple[int, bool, bool]], repeats: bool
) -> None:
    """Whatever is silenced when, and told or not: what was heard to open is heard to end."""
    at = [0, 0]
    topic: list[Alert] = []
    knows: dict[str, bool] = {}
    outbox = Outbox(0, repeats)
    outbox.begin(0)
    for key, silenced, tells in [*lives, (0, False, True), (1, False, True)]:
        status = ("open", "update", "resolved")[at[key] % 3]
        reason = "unsilenced" if status == "update" else None
        each = step(str(key), status, silenced=silenced, reason=reason)
        at[key] += 1
        topic.append(each)
        outbox.take(each, len(topic) - 1, 0)
        if not tells:
            continue
        for news in outbox.due(0.0, 9):
            silent, over = news.alert.get("silenced"), news.alert["status"] in OVER
            assert not silent or knows.get(news.alert["alert_id"])
            knows[news.alert["alert_id"]] = not over and not silent
            outbox.settle([news], told=True)

    stand = {each["alert_id"]: each["status"] not in OVER for each in topic}
    assert {id_ for id_, open_ in knows.items() if open_} == {i for i, o in stand.items() if o}
    assert outbox.dealt_with == len(topic)
