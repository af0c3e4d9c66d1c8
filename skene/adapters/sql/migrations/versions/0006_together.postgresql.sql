-- Many ordinary calls in one statement. These functions keep the rules of skene/engine/counter.py, as those of
-- `0004_counting.postgresql.sql` do, which decide whatever is not ordinary; a test compares them over random histories.


-- The units of a counter that grants can still pay.
CREATE FUNCTION {schema}skene_unspent_v1(p_subject text, p_meter text, p_now timestamptz)
RETURNS bigint
LANGUAGE sql STABLE
AS $function$
    SELECT least(coalesce(sum(g.units - g.spent), 0), 9223372036854775807)::bigint
      FROM {schema}skene_grants g
     WHERE g.subject = p_subject AND g.meter = p_meter AND g.spent < g.units
       AND (g.expires_at IS NULL OR g.expires_at > p_now)
$function$;


-- Charge the calls that need one row each: a window that runs, no override, feature or key, no grant that has to pay.
-- Those on one counter are charged together if all of them fit, and refused together if none does. What is left out of
-- the answer was not touched, and has to be decided by skene_consume_many_v3.
--
-- The caller sorts the counters by subject and meter, and names each of them once. With nested loops only, which the
-- settings see to, rows are locked in that order whichever table the planner begins with: in the order of the
-- counters, or of the primary key. So two such statements never wait for each other.
CREATE FUNCTION {schema}skene_charge_plain_v1(
    p_subjects text[],
    p_shapes int[],        -- which of the shapes below each counter's calls have, from 1
    p_totals bigint[],     -- units that all of its calls take
    p_costs bigint[],      -- units that each of them takes; NULL: they differ
    p_meters text[],       -- of each shape, as are all of these
    p_steps text[],
    p_limits jsonb[],      -- {plan: units or null}
    p_edges text[],        -- where windows begin, as an array's text; NULL: where the row says
    p_default_plans text[],
    p_now timestamptz      -- NULL: the server's clock
) RETURNS TABLE (
    number bigint,         -- the counter, from 1; of two rows of one, the first holds
    charged boolean,       -- all of its calls; or all are refused
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
    wall text              -- where they are refused
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
    v_grants boolean := EXISTS (SELECT FROM {schema}skene_grants g WHERE g.spent < g.units);  -- anybody's
    v_starts timestamptz[];
    v_charged bigint;
BEGIN
    FOR v_shape IN 1 .. cardinality(p_edges) LOOP
        v_starts[v_shape] := '-infinity';
        IF p_edges[v_shape] IS NOT NULL THEN
            v_starts[v_shape] := coalesce(
                (SELECT max(edge) FROM unnest(p_edges[v_shape]::timestamptz[]) AS edge WHERE edge <= v_now),
                '-infinity');
        END IF;
    END LOOP;

    RETURN QUERY
    UPDATE {schema}skene_usage u
       SET used = u.used + a.total
      FROM unnest(p_subjects, p_shapes, p_totals) WITH ORDINALITY AS a (subject, shape, total, number)
      LEFT JOIN {schema}skene_customers h ON h.subject = a.subject
     WHERE u.subject = a.subject AND u.meter = p_meters[a.shape]
       AND u.plan = CASE WHEN h.plan IS NULL OR h.until <= v_now THEN p_default_plans[a.shape] ELSE h.plan END
       AND h.merged_into IS NULL AND h.overrides IS NULL AND h.features IS NULL
       AND p_limits[a.shape] ? u.plan
       AND u.window_end > v_now AND u.window_start >= v_starts[a.shape] AND u.part_starts = '{}'
       AND u.used <= coalesce((p_limits[a.shape]->>u.plan)::bigint, 9223372036854775807) - a.total
           + CASE WHEN u.extra > 0
                  THEN {schema}skene_extra_v1(u.extra, u.extra_since, u.window_start, u.used) ELSE 0 END
    RETURNING a.number, true, v_now, u.plan, h.customer, h.checked_at,
              CASE WHEN v_grants OR u.extra > 0 THEN
                  {schema}skene_reported_v1(
                      (p_limits[a.shape]->>u.plan)::bigint, u.used,
                      {schema}skene_extra_v1(u.extra, u.extra_since, u.window_start, u.used),
                      {schema}skene_unspent_v1(u.subject, u.meter, v_now))
              ELSE (p_limits[a.shape]->>u.plan)::bigint END,
              CASE WHEN v_grants THEN {schema}skene_unspent_v1(u.subject, u.meter, v_now) ELSE 0 END,
              u.used, u.window_start, u.window_end, CASE WHEN u.notices <> '{}' THEN u.notices END, NULL::text;

    GET DIAGNOSTICS v_charged = ROW_COUNT;
    IF v_charged < cardinality(p_subjects) THEN
        -- Is there no room for any of their calls, and nobody who would pay for it? Only a look: it locks nothing.
        RETURN QUERY
        SELECT a.number, false, v_now, u.plan, h.customer, h.checked_at, l."limit", 0::bigint,
               u.used, u.window_start, u.window_end, nullif(u.notices, '{}'),
               (SELECT w.id
                  FROM {schema}skene_walls w
                 WHERE w.subject = u.subject AND w.step = p_steps[a.shape] AND w.plan = u.plan AND w.window_end > v_now
                 ORDER BY w.window_end DESC
                 LIMIT 1)
          FROM unnest(p_subjects, p_shapes, p_costs) WITH ORDINALITY AS a (subject, shape, cost, number)
          LEFT JOIN {schema}skene_customers h ON h.subject = a.subject
          JOIN {schema}skene_usage u
            ON u.subject = a.subject AND u.meter = p_meters[a.shape]
               AND u.plan = CASE WHEN h.plan IS NULL OR h.until <= v_now THEN p_default_plans[a.shape] ELSE h.plan END
         CROSS JOIN LATERAL (SELECT (p_limits[a.shape]->>u.plan)::bigint AS "limit") AS l
         WHERE h.merged_into IS NULL AND h.overrides IS NULL AND h.features IS NULL
           AND u.window_end > v_now AND u.window_start >= v_starts[a.shape] AND u.part_starts = '{}' AND u.extra = 0
           AND u.used > l."limit" - a.cost
           AND NOT (v_grants AND {schema}skene_unspent_v1(u.subject, u.meter, v_now) > 0);
    END IF;
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
