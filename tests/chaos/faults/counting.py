"""Faults around a call that is counted: rushes, kills, retries, clients, handlers."""

from tests.chaos.faults.fault import fault

__all__ = ["COUNTING"]

COUNTING = (
    fault(
        "many-at-once",
        "One subject calls many times at once, at several processes",
        "exactly the limit is admitted",
        "acceptance/test_two_processes::test_exactly_the_limit_is_admitted_and_one_mail_is_sent",
        "conformance/concurrency::test_400_at_once_admit_exactly_100",
    ),
    fault(
        "first-calls-at-once",
        "The first calls of a new subject come to every process at once",
        "all are counted, none is an error",
        "conformance/concurrency::test_400_at_once_admit_exactly_100",
    ),
    fault(
        "killed-before-answer",
        "A process is killed between counting a call and answering it",
        "the use stays counted; nobody gets more than the limit",
    ),
    fault(
        "killed-in-transaction",
        "A process is killed inside the transaction that counts",
        "the call is counted wholly or not at all",
    ),
    fault(
        "killed-before-refund",
        "A process is killed between a handler's failure and the give-back",
        "the unit stays charged, at most one for each request in flight",
        "runtime/test_gate_faults::test_a_refund_that_hangs_is_given_up",
    ),
    fault(
        "handler-raises",
        "A handler raises, or answers with an error",
        "its unit is given back once, in the window it was taken from",
        "acceptance/test_failures_are_free::test_over_http_on_a_real_database",
        "conformance/returns::test_a_refund_never_goes_below_zero",
    ),
    fault(
        "window-ends-meanwhile",
        "A window ends while a call is under way that fails afterwards",
        "nothing is given back into the next window",
        "conformance/returns::test_a_refund_never_lands_in_another_window",
        "runtime/test_gate_faults::test_a_refund_goes_to_the_window_it_was_charged_in",
    ),
    fault(
        "repeated-meanwhile",
        "A call is repeated under its key while the first attempt fails",
        "what the repetition relies on is not given back",
        "conformance/returns::test_what_a_repetition_relies_on_is_not_given_back",
    ),
    fault(
        "repeated",
        "A client repeats a call under the same key",
        "one charge, and the first decision again",
        "fastapi/test_idempotency::test_repeats_and_simultaneous_repeats_are_charged_once",
        "conformance/returns::test_a_retry_is_free",
    ),
    fault(
        "repeated-at-once",
        "Repetitions under one key come all at once",
        "one charge",
        "conformance/concurrency::test_50_retries_at_once_are_one_charge",
    ),
    fault(
        "repeated-after-a-kill",
        "A call is repeated under its key because its process was killed",
        "one charge in all: a key is kept in the transaction that charges",
        "conformance/returns::test_a_retry_is_free",
    ),
    fault(
        "same-key-of-another",
        "Another subject, or another request, comes under the same key",
        "keys are each subject's own; another request of the same subject is answered with 422",
        "fastapi/test_idempotency::test_keys_are_each_subjects_own",
        "fastapi/test_idempotency::test_another_request_under_the_same_key_is_told_so",
    ),
    fault(
        "odd-key",
        "A key that is empty, too long or not ASCII",
        "400 with the rule",
        "fastapi/test_idempotency::test_odd_keys_are_refused_with_the_rule",
    ),
    fault("client-gone", "A client hangs up", "what ran is charged, and what did not run is not"),
    fault(
        "cancelled-while-counting",
        "A call is cancelled in the middle of being counted",
        "it is charged wholly or not at all; connections stay usable",
        "adapters/test_postgres_faults::test_cancelled_callers_are_charged_wholly_or_not_at_all",
        "adapters/test_postgres_faults::test_tasks_that_asyncio_cancels",
        "fastapi/test_counting::test_a_cancelled_request_gives_back",
    ),
    fault(
        "never-handled",
        "A request ends with 401, 403, 404, 405, 422 or a redirect, or is a preflight",
        "it costs nothing",
        "fastapi/test_counting::test_what_never_reaches_the_handler_costs_nothing",
        "fastapi/test_counting::test_an_invalid_request_is_never_charged_not_even_for_a_moment",
    ),
    fault(
        "stream-breaks",
        "An answer breaks while it is streamed",
        "it is charged once it has begun, and not given back",
        "fastapi/test_counting::test_a_stream_is_charged_once_it_starts_even_if_it_breaks",
    ),
    fault(
        "background-work",
        "Middleware or background tasks of the app stand around the gate",
        "they run as before; nothing of skene's waits for them",
        "fastapi/test_counting::test_background_tasks_of_the_app_still_run",
        "conformance/concurrency::test_50_walls_at_once_are_one",
    ),
    fault(
        "two-loops-one-route",
        "Several steps cover one route, and one of them refuses",
        "none is charged; a route is charged once however often a gate is attached",
        "fastapi/test_counting::test_several_steps_all_admit_or_none_is_charged",
        "fastapi/test_attaching::test_charged_once_however_often_attached",
    ),
    fault(
        "spelled-otherwise",
        "A request is spelled in another way to get round the gate",
        "no handler runs uncharged",
        "fastapi/test_coverage::test_no_spelling_of_an_address_gets_round_the_gate",
    ),
    fault(
        "mounted-otherwise",
        "A route is nested, mounted, prefixed or behind a proxy",
        "it is gated all the same",
        "fastapi/test_coverage::test_gated_however_mounted",
    ),
    fault(
        "cannot-carry-a-gate",
        "A pattern covers something that cannot be gated",
        "the app does not start, and names the route",
        "fastapi/test_refused_starts::test_what_cannot_carry_a_gate",
    ),
    fault(
        "odd-subject",
        "A subject's id is missing, has a zero byte, half a character, or 10,000 characters",
        "nobody is 401, never a shared counter; any text is safe",
        "fastapi/test_answers::test_nobody_is_401_and_never_a_shared_counter",
        "runtime/test_gate_faults::test_any_text_is_a_subject_and_comes_back_as_it_was_given",
        "engine/test_subject::test_every_text_becomes_storable",
        "engine/test_subject::test_composed_and_decomposed_are_two",
    ),
)
