"""Definitions and settings that cannot be meant: refused where they are made, or at the start."""

from tests.chaos.faults.fault import fault

__all__ = ["DEFINITIONS"]

VALUES = "definitions/test_bad_values::test_it_is_refused_where_it_stands"

DEFINITIONS = (
    fault(
        "bad-limit",
        "A limit that is negative, a fraction, true, text, no number, or beyond what a database holds",
        "refused with what is allowed",
        VALUES,
        "definitions/test_units::test_limits_are_whole_numbers",
    ),
    fault(
        "bad-unlimited",
        "Infinity in its spellings, on the free plan too",
        "read, written as text, never a huge number; a free plan without a limit is pointed out",
        "definitions/test_units::test_no_limit_has_four_spellings",
        "definitions/test_seed::test_unlimited_is_dumped_as_the_string_infinity",
        "definitions/test_bad_loops::test_a_free_plan_without_a_limit_is_pointed_out_at_the_users_line",
    ),
    fault(
        "bad-plans",
        "A plan without a limit, or a free limit above the paid one",
        "the first is refused at the start; the second is the user's business",
        "runtime/test_startup::test_a_plan_without_a_limit",
        "definitions/test_bad_loops::test_a_free_limit_above_the_paid_one_is_the_users_business",
    ),
    fault(
        "bad-steps",
        "No steps, unknown types and keys, keys given twice",
        "refused with the nearest that is known",
        VALUES,
        "definitions/test_load::test_a_plan_that_stands_twice_in_json_is_not_silently_the_last",
    ),
    fault(
        "bad-spelling",
        "camelCase in Python and snake_case in JSON",
        "both are read, one is written",
        "definitions/test_seed::test_snake_case_is_read_and_camel_case_is_written",
    ),
    fault(
        "bad-period",
        "A period that is a bare number, a month, nothing, negative, or in odd digits",
        "refused with the nearest that is meant",
        VALUES,
        "definitions/test_units::test_any_text_is_a_duration_within_bounds_or_refused",
    ),
    fault(
        "bad-cron",
        "A schedule with other fields, one that never fires, two kinds of day at once",
        "refused with its field, or pointed out",
        "definitions/test_cron::test_what_is_no_schedule_is_refused_with_the_nearest_that_is",
        "definitions/test_cron::test_two_kinds_of_day_at_once_are_worth_a_warning",
        "definitions/test_bad_values::test_a_time_zone_is_an_iana_name",
    ),
    fault(
        "bad-pattern",
        "A pattern that is no path, or covers no route",
        "refused where it is written, or at the start",
        VALUES,
        "fastapi/test_refused_starts::test_a_pattern_without_a_route",
    ),
    fault(
        "bad-method",
        "A method in another case, an unknown one, none",
        "any case is read; the rest is refused; HEAD counts as GET",
        "definitions/test_parts::test_methods_are_read_in_any_case",
        "fastapi/test_coverage::test_methods",
    ),
    fault(
        "bad-twice",
        "Two loops of one name, two periods for one counter",
        "refused",
        "runtime/test_skene_life::test_two_loops_of_one_name_do_not_start",
        "definitions/test_bad_loops::test_two_steps_of_one_meter_have_one_period",
    ),
    fault(
        "bad-template",
        "A template that is missing, broken, a path, or asks for what is not there",
        "the app does not start, and says where it looked",
        "runtime/test_startup::test_a_template_that_does_not_exist_with_the_places_that_were_searched",
        "runtime/test_startup::test_a_template_that_cannot_be_sent",
        "definitions/test_parts::test_templates_are_relative_names",
    ),
    fault(
        "bad-header",
        "Line breaks in a subject or an address, also by a value that is filled in",
        "refused",
        "adapters/test_notifiers::test_headers_that_would_break_a_mail_up_are_refused",
    ),
    fault(
        "bad-address",
        "A link that leads elsewhere: another scheme or host",
        "refused",
        "runtime/test_startup::test_an_address_that_people_cannot_reach",
        "fastapi/test_checkout::test_no_parameter_and_no_header_says_where_the_browser_goes",
    ),
    fault(
        "bad-provider",
        "An unknown provider, or one without its settings",
        "the app does not start, and names what there is",
        "runtime/test_startup::test_an_unknown_provider_with_what_there_is_and_the_nearest",
        "adapters/test_resend::test_every_wrong_setting_is_named_at_once",
    ),
    fault(
        "bad-secret",
        "A secret that is empty, a placeholder, of another kind or mode; a tolerance that checks nothing",
        "refused by the name of its setting, never with its value",
        "adapters/test_stripe_settings::test_keys_that_cannot_work",
        "adapters/test_stripe_settings::test_signing_secrets_that_cannot_work",
        "adapters/test_stripe_settings::test_all_faults_are_in_one_error_without_the_values",
    ),
    fault(
        "bad-query",
        "A query of two statements, one that writes, ends its transaction or switches its time-out off",
        "refused or stopped",
        "definitions/test_sql::test_the_rest_is_refused_in_words",
        "adapters/test_query_attacks::test_it_is_refused_or_stopped_by_the_database",
        "acceptance/test_attacks::test_a_query_that_cannot_be_run_is_refused_at_the_start",
    ),
    fault(
        "bad-recovery",
        "Retries that are negative, true or a billion",
        "refused with the bounds",
        VALUES,
    ),
    fault(
        "bad-message",
        "A message that is empty or very long, or an error that would show a secret",
        "refused; long values are shortened, and what may be secret is not shown",
        VALUES,
        "definitions/test_bad_loops::test_no_message_shows_what_may_be_secret",
        "definitions/test_bad_loops::test_long_values_are_shortened",
    ),
    fault(
        "changed-afterwards",
        "A definition is changed after it was made",
        "it cannot be",
        "definitions/test_seed::test_nothing_written_changes_a_loop_afterwards",
    ),
    fault(
        "anything-at-all",
        "Anything anywhere in a definition",
        "a loop, or our error with all faults at once",
        "definitions/test_load::test_anything_anywhere_in_a_loop_of_every_kind_is_loaded_or_refused",
        "definitions/test_bad_loops::test_all_faults_of_a_loop_in_code_come_in_one_error",
    ),
)
