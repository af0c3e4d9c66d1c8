-- Many ordinary calls in one statement. These functions keep the rules of skene/engine/counter.py, as those of
-- `0004_counting.postgresql.sql` do, which decide whatever is not ordinary; a test compares them over random histories.


-- Charge the calls that need one row each: a window that runs, no grant or override in it, no key. What is left out of
-- the answer was not touched, and has to be decided by skene_consume_many_v3.
--
-- The caller sorts the counters by subject and meter, and names each of them once. With nested loops only, which the
-- settings see to, rows are locked in that order, whichever table the planner begins with: in the order of the counters,
-- or of the primary key. So two such statements never wait for each other.
CREATE FUNCTION {schema}skene_charge_plain_v1(
    p_subjects text[],
    p_shapes int[],        -- which of the shapes below each counter's calls have, from 1
    p_costs bigint[],      -- units that each of its calls takes
    p_calls bigint[],      -- how many calls there are; as many as fit are charged
    p_meters text[],       -- of each shape, as are all of these
    p_steps text[],
    p_limits jsonb[],      -- {plan: units or null}
    p_edges text[],        -- where windows begin, as an array's text; NULL: where the row says
    p_default_plans text[],
    p_now timestamptz      -- NULL: the server's clock
) RETURNS TABLE (
    number bigint,         -- the counter, from 1
    charged bigint,        -- how many of its calls; the rest is refused, unless grants are left to pay for it
    now timestamptz,
    plan text,
    customer text,
    checked_at timestamptz,
    "limit" bigint,
    granted bigint,
    used bigint,           -- after all of them
    window_start timestamptz,
    window_end timestamptz,
    notices text[],        -- NULL: none
    wall text              -- where some were refused
)
LANGUAGE plpgsql VOLATILE
SET lock_timeout = '250ms'
SET enable_hashjoin = off
SET enable_mergejoin = off
SET enable_seqscan = off
AS $function$
#variable_conflict use_column
DECLARE
    v_now timestamptz := coalesce(p_now, clock_timestamp());
    v_starts timestamptz[];
BEGIN
    SELECT array_agg((SELECT coalesce(max(edge), '-infinity')
                        FROM unnest(e.edges::timestamptz[]) AS edge
                       WHERE edge <= v_now)
                     ORDER BY e.shape)
      INTO v_starts
      FROM unnest(p_edges) WITH ORDINALITY AS e (edges, shape);
    RETURN QUERY
    WITH asked AS MATERIALIZED (
        -- As this statement finds it. Whoever is quicker makes the update below find less room than it needs: then
        -- nothing is charged here.
        SELECT a.number, a.shape, a.subject, a.cost, a.calls, h.customer, h.checked_at, l."limit",
               u.meter, u.plan, u.used, u.window_start, u.window_end, u.notices, u.extra, u.extra_since,
               least(a.calls, (l.most - u.used
                   + {schema}skene_extra_v1(u.extra, u.extra_since, u.window_start, u.used)) / a.cost) AS fit, l.most
          FROM unnest(p_subjects, p_shapes, p_costs, p_calls)
               WITH ORDINALITY AS a (subject, shape, cost, calls, number)
          LEFT JOIN {schema}skene_customers h ON h.subject = a.subject
          JOIN {schema}skene_usage u
            ON u.subject = a.subject AND u.meter = p_meters[a.shape]
               AND u.plan = CASE WHEN h.plan IS NULL OR h.until <= v_now THEN p_default_plans[a.shape] ELSE h.plan END
          CROSS JOIN LATERAL (SELECT (p_limits[a.shape]->>u.plan)::bigint AS "limit",
                                     coalesce((p_limits[a.shape]->>u.plan)::bigint, 9223372036854775807) AS most) AS l
         WHERE h.merged_into IS NULL AND h.overrides IS NULL AND h.features IS NULL AND p_limits[a.shape] ? u.plan
           AND u.window_end > v_now AND u.window_start >= v_starts[a.shape] AND u.part_starts = '{}'
    ),
    charged AS (
        UPDATE {schema}skene_usage u
           SET used = u.used + a.cost * a.fit
          FROM asked a
         WHERE u.subject = a.subject AND u.meter = a.meter AND u.plan = a.plan AND a.fit > 0
           AND u.window_end > v_now AND u.window_start = a.window_start AND u.part_starts = '{}'
           AND u.used - {schema}skene_extra_v1(u.extra, u.extra_since, u.window_start, u.used)
               <= a.most - a.cost * a.fit
        RETURNING a.number, a.shape, a.subject, a.calls, a.customer, a.checked_at, a."limit", a.fit,
                  u.meter, u.plan, u.used, u.window_start, u.window_end, u.notices, u.extra, u.extra_since
    ),
    decided AS (
        SELECT number, shape, subject, calls, customer, checked_at, "limit", fit,
               meter, plan, used, window_start, window_end, notices, extra, extra_since
          FROM charged
        UNION ALL
        SELECT number, shape, subject, calls, customer, checked_at, "limit", fit,
               meter, plan, used, window_start, window_end, notices, extra, extra_since
          FROM asked
         WHERE fit <= 0
    )
    SELECT d.number, d.fit, v_now, d.plan, d.customer, d.checked_at,
           {schema}skene_reported_v1(
               d."limit", d.used, {schema}skene_extra_v1(d.extra, d.extra_since, d.window_start, d.used), g.granted),
           g.granted, d.used, d.window_start, d.window_end, nullif(d.notices, '{}'),
           CASE WHEN d.fit < d.calls THEN (
               SELECT w.id FROM {schema}skene_walls w
                WHERE w.subject = d.subject AND w.step = p_steps[d.shape] AND w.plan = d.plan AND w.window_end > v_now
                ORDER BY w.window_end DESC
                LIMIT 1) END
      FROM decided d
      CROSS JOIN LATERAL (
          SELECT least(coalesce(sum(g.units - g.spent), 0), 9223372036854775807)::bigint
            FROM {schema}skene_grants g
           WHERE g.subject = d.subject AND g.meter = d.meter AND g.spent < g.units
             AND (g.expires_at IS NULL OR g.expires_at > v_now)) AS g (granted)
     WHERE d.fit > 0 OR g.granted = 0;
END
$function$;


-- One call by itself: skene_decide_v3, which waits for a lock as long as many calls do. It has the same body, since a
-- function that only hands on what another one returns costs more than a round trip to the server's memory.
DO $function$
DECLARE
    v_name text := 'skene_decide_v3';
    v_source text := pg_get_functiondef(
        '{schema}skene_decide_v3(text, text, jsonb, text, text, timestamptz, boolean)'::regprocedure);
BEGIN
    v_source := replace(v_source, format('.%I(p_subject text,', v_name), '.skene_consume_v4(p_subject text,');
    EXECUTE replace(v_source, E'\nAS $', E'\n SET lock_timeout TO ''250ms''\nAS $');
END
$function$;
