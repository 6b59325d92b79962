-- Typed reading of JSON values, each one inlinable SQL expression, so that the planner sees through them and no call is
-- made per row. Postgres's own casts take '1_000', 'NaN', 'now' and 'infinity' for valid; these don't.

-- A JSON number, or a string that reads fully as a number. Anything else is null.
CREATE OR REPLACE FUNCTION engage_number(value jsonb) RETURNS numeric
LANGUAGE sql IMMUTABLE PARALLEL SAFE RETURN
CASE jsonb_typeof(value)
  WHEN 'number' THEN value::numeric
  WHEN 'string' THEN
    CASE WHEN (value #>> '{}') COLLATE "C" ~ '^[+-]?([0-9]{1,40}\.?[0-9]{0,40}|\.[0-9]{1,40})([eE][+-]?[0-9]{1,2})?$'
    THEN (value #>> '{}')::numeric END
END;

-- The value as text; true and false as 'true' and 'false'. JSON null is null.
CREATE OR REPLACE FUNCTION engage_text(value jsonb) RETURNS text
LANGUAGE sql IMMUTABLE PARALLEL SAFE RETURN
(value #>> '{}') COLLATE "C";

-- An ISO 8601 date or date-time (without a zone: UTC), or a Unix time in seconds or, from 1e11 on, milliseconds.
CREATE OR REPLACE FUNCTION engage_instant(value jsonb) RETURNS timestamptz
LANGUAGE sql STABLE PARALLEL SAFE RETURN
CASE jsonb_typeof(value)
  WHEN 'number' THEN
    CASE
      WHEN value::numeric BETWEEN -99999999999 AND 99999999999 THEN to_timestamp(value::numeric::float8)
      WHEN value::numeric BETWEEN -99999999999999 AND 99999999999999 THEN to_timestamp((value::numeric / 1000)::float8)
    END
  WHEN 'string' THEN
    CASE WHEN (value #>> '{}') COLLATE "C" ~
      '^[1-9][0-9]{3}-(0[1-9]|1[0-2])-(0[1-9]|[12][0-9]|3[01])([Tt ]([01][0-9]|2[0-3]):[0-5][0-9](:[0-5][0-9]([.,][0-9]{1,9})?)?( ?([Zz]|[+-](0[0-9]|1[0-4])(:?[0-5][0-9])?))?)?$'
      -- A day that its month has: nothing past the 28th needs a look otherwise.
      AND (substr(value #>> '{}', 9, 2) <= '28'
        OR substr(value #>> '{}', 9, 2)::int <= extract(day FROM
          make_date(substr(value #>> '{}', 1, 4)::int, substr(value #>> '{}', 6, 2)::int, 1) + interval '1 month - 1 day'))
    THEN
      CASE
        WHEN length(value #>> '{}') = 10 THEN ((value #>> '{}') || 'T00:00:00Z')::timestamptz
        WHEN (value #>> '{}') COLLATE "C" ~ '([Zz]|[+-][0-9]{2}(:?[0-9]{2})?)$' AND substr(value #>> '{}', 11) COLLATE "C" ~ '[Zz+-]'
          THEN replace(value #>> '{}', ',', '.')::timestamptz
        ELSE (replace(value #>> '{}', ',', '.') || 'Z')::timestamptz
      END
    END
END;

-- A number as it leaves: at most 15 significant digits, and always with a decimal point, as a destination may fix a
-- field's type by the first value that it sees.
CREATE OR REPLACE FUNCTION engage_float(value numeric) RETURNS jsonb
LANGUAGE sql IMMUTABLE PARALLEL SAFE RETURN
CASE
  WHEN value = 0 THEN '0.0'::jsonb
  ELSE to_jsonb(
    CASE WHEN scale(trim_scale(round(value, 14 - floor(log(abs(value)))::int))) = 0
      THEN round(round(value, 14 - floor(log(abs(value)))::int), 1)
      ELSE trim_scale(round(value, 14 - floor(log(abs(value)))::int)) END)
END;
