"""Faults of databases, networks, clocks and machines."""

from tests.chaos.faults.fault import fault

__all__ = ["DATABASES"]

DATABASES = (
    fault(
        "database-crashes",
        "PostgreSQL crashes under load",
        "no acknowledged use is lost, and it is used again by itself",
        "adapters/test_postgres_faults::test_a_server_that_stops_and_one_that_crashes",
    ),
    fault(
        "database-away",
        "PostgreSQL is away",
        "503 in time, never a refusal or a mail, and no flood of log lines",
        "fastapi/test_answers::test_an_outage_is_503_and_never_a_limit",
        "runtime/test_quiet::test_one_line_a_second_and_a_count_of_the_rest",
    ),
    fault(
        "database-read-only",
        "After a failover the server takes no writes",
        "503 as in an outage; a new connection is made as soon as one helps",
        "adapters/test_postgres_faults::test_a_server_that_takes_no_writes",
    ),
    fault(
        "pool-exhausted",
        "All connections are in use, or the server has none left",
        "others are counted all the same; who needs one waits for a bounded time",
        "adapters/test_postgres_faults::test_a_full_pool_is_waited_for_in_vain_but_not_long",
        "adapters/test_postgres_faults::test_no_connection_left",
    ),
    fault(
        "row-locked",
        "A stranger holds a lock on a subject's row",
        "503 for that subject in time, the others are served",
        "adapters/test_postgres_faults::test_a_strangers_lock_is_waited_for_in_vain_but_not_long",
        "adapters/test_postgres_faults::test_a_give_back_waits_out_a_lock",
    ),
    fault(
        "frozen-in-transaction",
        "A process is frozen in the middle of a transaction, as a paused container is",
        "the database takes its locks away after two seconds, and the others go on",
        "adapters/test_postgres_faults::test_whoever_is_frozen_in_a_transaction_holds_up_nobody_for_long",
    ),
    fault(
        "network-cut",
        "A connection breaks in the middle of a statement, or after it",
        "nothing is counted twice, nothing acknowledged is lost",
        "adapters/test_postgres_faults::test_killed_connections_cost_no_acknowledged_use",
        "adapters/test_postgres_faults::test_idle_connections_that_were_killed_are_not_noticed",
    ),
    fault("network-slow", "The network holds everything up", "slower answers, and 503 in time"),
    fault("network-silent", "The network swallows everything", "503 in time"),
    fault(
        "deadlock",
        "Transactions lock in opposite orders, or cannot be serialised",
        "it is settled inside the gate; no caller sees it",
        "adapters/test_postgres_counting::test_opposite_orders_do_not_deadlock",
        "adapters/test_postgres_counting::test_a_stricter_default_isolation_is_no_obstacle",
        "conformance/concurrency::test_crossed_counters_neither_deadlock_nor_overrun",
    ),
    fault(
        "clocks-differ",
        "The clocks of the app's machines differ by minutes",
        "windows, leases and ticks go by the database's clock",
        "adapters/test_postgres_counting::test_time_is_the_servers",
    ),
    fault(
        "clock-steps-back",
        "A clock steps back",
        "no window opens again, nothing is forgotten, no second mail",
        "conformance/windows::test_a_clock_that_steps_back_reopens_nothing",
        "conformance/windows::test_a_clock_that_steps_back_frees_nothing",
    ),
    fault(
        "clock-change",
        "Clocks are put forward or back for summer time",
        "durations are exact seconds; a local day has its tick once",
        "acceptance/test_schedules::test_each_local_day_has_its_tick_once",
        "engine/test_schedule::test_the_hour_that_comes_twice_counts_the_first_time",
        "engine/test_window::test_calendar_units_in_every_zone",
    ),
    fault(
        "month-ends",
        "A month has no 31st",
        "the day is clamped, and comes back",
        "engine/test_window::test_month_ends_clamp_and_come_back_over_400_years",
    ),
    fault(
        "limit-changed",
        "A deploy changes a limit or a period while the code before it still runs",
        "counters are kept; a new period begins when the running window ends",
        "conformance/counting::test_a_limit_changed_by_a_deploy_keeps_the_count",
        "conformance/windows::test_a_new_period_waits_for_the_running_window",
        "adapters/test_migrations::test_old_code_works_on_a_newer_schema",
    ),
    fault(
        "migrated-twice",
        "Several processes migrate at once, as a role that owns one schema",
        "one schema comes of it",
        "adapters/test_migrations::test_four_at_once_make_one_schema",
        "adapters/test_migrations::test_a_migration_that_fails_leaves_nothing",
        "adapters/test_postgres::test_a_schema_of_its_own",
    ),
    fault(
        "endless-query",
        "A query of a loop returns millions of rows, or never ends",
        "memory stays bounded; that loop fails by itself",
        "acceptance/test_retention::test_a_million_rows_in_little_memory",
        "adapters/test_query_growth::test_long_rows_need_none_either",
        "runtime/test_firing_lanes::test_a_condition_slower_than_the_lease_is_asked_by_one_worker_only",
    ),
    fault(
        "disk-full",
        "The disk of the database is full",
        "503, as for every error of the server that is not the statement's fault",
        "adapters/test_postgres_faults::test_a_full_disk",
    ),
    fault(
        "forked",
        "A process forks after the storage was opened, or a second event loop uses it",
        "it works after a start, and says so before",
        "adapters/test_postgres::test_a_forked_child_has_connections_of_its_own",
        "adapters/test_postgres::test_another_event_loop",
        "adapters/test_sqlite::test_a_forked_child_opens_the_file_for_itself",
    ),
    fault(
        "backup-restored",
        "The database is set back to yesterday's backup",
        "messages have the keys they had, so the provider does not send again what it remembers; a sync puts"
        " plans right",
        "conformance/delivery::test_the_body_is_frozen",
        "adapters/test_resend::test_keys_are_remembered_longer_than_we_count_on",
        "runtime/test_sync::test_everybody_who_differs_is_put_right_and_nobody_else_is_fetched",
        "chaos/test_restored::test_what_was_sent_after_the_backup_is_not_sent_again",
    ),
)
