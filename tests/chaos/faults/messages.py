"""Faults on the way of a mail or a tick: workers that are killed, providers that fail."""

from tests.chaos.faults.fault import fault

__all__ = ["MESSAGES"]

MESSAGES = (
    fault(
        "killed-at-random",
        "Workers are killed at any moment",
        "each message is sent once",
        "acceptance/test_delivery::test_all_are_delivered_and_none_twice",
        "runtime/test_worker_life::test_killed_anywhere_the_mail_goes_out_exactly_once",
    ),
    fault(
        "killed-before-mail",
        "A process is killed after a wall was recorded and before its mail is sent",
        "another process sends it, without a new request",
        "runtime/test_worker_life::test_killed_anywhere_the_mail_goes_out_exactly_once",
    ),
    fault(
        "killed-at-claim",
        "A worker is killed when it has just claimed a message",
        "its lease of seconds ends, and another one sends it",
        "conformance/delivery::test_a_lease_that_ends_hands_over",
    ),
    fault(
        "killed-before-sending",
        "A worker is killed when it has frozen a message and not sent it",
        "another one sends the same body",
        "runtime/test_worker::test_another_process_with_another_template_sends_what_was_first_rendered",
    ),
    fault(
        "killed-after-sending",
        "A worker is killed after sending and before it notes that",
        "the repetition has the same key and body, so the provider sends nothing",
        "runtime/test_worker::test_an_unknown_outcome_is_asked_about_with_the_same_key_and_body",
    ),
    fault(
        "mail-answer-lost",
        "The answer of the mail provider is lost",
        "it is asked again with the same key as long as it remembers keys, then parked for a person",
        "adapters/test_resend::test_a_slow_answer_is_unknown_and_the_repeat_sends_nothing",
        "runtime/test_worker::test_past_the_providers_memory_nothing_is_repeated",
    ),
    fault(
        "mail-429",
        "The mail provider asks for patience",
        "no sooner than it says, at a pace that all workers share",
        "adapters/test_resend_answers::test_retry_after",
        "runtime/test_mail_policy::test_the_pace_holds_over_two_workers",
    ),
    fault(
        "mail-500",
        "The mail provider fails",
        "further attempts, ever later, then a dead letter that can be seen",
        "runtime/test_worker::test_what_failed_is_tried_again_after_a_wait_within_the_backoff",
    ),
    fault(
        "mail-refused",
        "The mail provider refuses a message for good",
        "no further attempt; the others go out",
        "adapters/test_resend_answers::test_one_bad_message_does_not_stop_the_others",
        "runtime/test_worker::test_what_is_refused_is_dead_at_once",
    ),
    fault(
        "mail-409",
        "The mail provider knows a key already, or is working on it",
        "another body under the key is refused loudly; one that is under way is tried again",
        "adapters/test_resend_answers::test_the_same_key_for_another_body_is_refused_loudly",
        "adapters/test_resend::test_the_same_key_at_once_fails_for_now",
    ),
    fault(
        "poison",
        "A message cannot be rendered",
        "it is parked alone",
        "acceptance/test_delivery::test_poison_stops_nobody_else",
        "runtime/test_worker::test_one_poisoned_message_of_200_stops_no_other",
    ),
    fault(
        "asked-to-stop",
        "A worker is asked to stop in the middle of its work",
        "it ends within 10 s and gives back what it holds",
        "acceptance/test_delivery::test_sigterm_ends_a_busy_worker_and_nothing_waits_for_a_lease",
        "fastapi/test_life::test_a_back_end_that_hangs_when_closed_does_not_hold_up_the_end",
    ),
    fault(
        "two-schedulers",
        "Two schedulers come to the same tick",
        "it acts once",
        "acceptance/test_schedules::test_each_tick_acts_once",
        "conformance/rushes::test_20_open_a_tick",
    ),
    fault(
        "killed-at-a-tick",
        "A scheduler is killed around a tick",
        "it acts once",
        "runtime/test_killed_firings::test_killed_anywhere_each_mail_goes_out_once_and_each_tick_acts_once",
    ),
    fault(
        "scheduler-late",
        "A scheduler's clock is late",
        "a tick acts once",
        "acceptance/test_schedules::test_each_tick_acts_once",
    ),
    fault(
        "scheduler-asleep",
        "Everything is down over a tick",
        "the latest one that was missed acts once, within its grace",
        "runtime/test_repeats::test_the_latest_tick_that_was_missed_runs_within_its_grace",
    ),
)
