// SPDX-License-Identifier: Apache-2.0

/// Functions of Spark as macros of the engine.
enum SparkMacros {
  /// One number of arguments: names of parameters, and the expression.
  struct Overload: Sendable {
    var parameters: [String]
    var expression: String
    init(_ parameters: [String], _ expression: String) {
      self.parameters = parameters
      self.expression = expression
    }
  }

  struct Macro: Sendable {
    var overloads: [Overload]
    /// Of a name that the engine has, too: the engine's own numbers of arguments, handed on. A statement that uses none of the others does
    /// not get the macro.
    var passed: [Overload] = []

    func takes(_ count: Int) -> Bool { overloads.contains { $0.parameters.count == count } }
  }

  private static func one(_ parameters: [String], _ expression: String) -> Macro { Macro(overloads: [Overload(parameters, expression)]) }

  private static func cast(_ type: String) -> Macro { one(["a"], "CAST(a AS \(type))") }

  private static let seconds = "CAST(a AS BIGINT) * 1000000"
  private static let integers = "'U?(TINY|SMALL|BIG|HUGE)?INT(EGER)?'"

  /// A text read by a pattern. Spark's years of two digits are those from 2000 on, the engine's from 1969.
  private static func read(_ function: String) -> String {
    let time = "\(function)(a, b)"
    return "CASE WHEN contains(replace(b, '%%', ''), '%y') AND year(\(time)) < 2000 THEN \(time) + INTERVAL 100 YEAR ELSE \(time) END"
  }

  /// By name, in small letters. Names of variables in lambdas begin with `__`, so that no column of an argument is meant.
  static let all: [String: Macro] = [
    // NULLs and conditions
    "nvl": one(["a", "b"], "coalesce(a, b)"),
    "nvl2": one(["a", "b", "c"], "CASE WHEN a IS NOT NULL THEN b ELSE c END"),
    "zeroifnull": one(["a"], "coalesce(a, 0)"),
    "nullifzero": one(["a"], "nullif(a, 0)"),
    "equal_null": one(["a", "b"], "a IS NOT DISTINCT FROM b"),
    "isnull": one(["a"], "a IS NULL"),
    "isnotnull": one(["a"], "a IS NOT NULL"),
    "iff": one(["a", "b", "c"], "CASE WHEN a THEN b ELSE c END"),
    // aggregates
    "collect_list": one(["a"], "coalesce(list(a) FILTER (WHERE a IS NOT NULL), [])"),
    "collect_set": one(["a"], "coalesce(list(DISTINCT a) FILTER (WHERE a IS NOT NULL), [])"),
    "every": one(["a"], "bool_and(a)"),
    "percentile": one(["a", "b"], "quantile_cont(a, b)"),
    "percentile_approx": Macro(overloads: [Overload(["a", "b"], "quantile_disc(a, b)"), Overload(["a", "b", "c"], "quantile_disc(a, b)")]),
    "approx_percentile": Macro(overloads: [Overload(["a", "b"], "quantile_disc(a, b)"), Overload(["a", "b", "c"], "quantile_disc(a, b)")]),
    "first": Macro(
      overloads: [Overload(["a", "b"], "CASE WHEN b THEN any_value(a) ELSE system.main.first(a) END")],
      passed: [Overload(["a"], "system.main.first(a)")]),
    "last": Macro(
      overloads: [Overload(["a", "b"], "CASE WHEN b THEN system.main.last(a) FILTER (WHERE a IS NOT NULL) ELSE system.main.last(a) END")],
      passed: [Overload(["a"], "system.main.last(a)")]),
    // texts
    "rlike": one(["a", "b"], "regexp_matches(a, b)"),
    "regexp": one(["a", "b"], "regexp_matches(a, b)"),
    "regexp_like": one(["a", "b"], "regexp_matches(a, b)"),
    "regexp_count": one(["a", "b"], "len(regexp_extract_all(a, b))"),
    "space": one(["a"], "repeat(' ', a)"),
    "startswith": one(["a", "b"], "starts_with(a, b)"),
    "endswith": one(["a", "b"], "ends_with(a, b)"),
    "initcap": one(["a"], "array_to_string(list_transform(string_split(lower(a), ' '), lambda __w: upper(__w[1]) || __w[2:]), ' ')"),
    "substring_index": one(
      ["a", "b", "c"],
      """
      CASE WHEN b = '' OR c = 0 THEN '' WHEN c > 0 THEN array_to_string(list_slice(string_split(a, b), 1, c), b) \
      ELSE array_to_string(list_slice(string_split(a, b), greatest(len(string_split(a, b)) + c + 1, 1), -1), b) END
      """),
    "locate": Macro(overloads: [
      Overload(["a", "b"], "instr(b, a)"),
      Overload(["a", "b", "c"], "CASE WHEN instr(substr(b, c), a) = 0 THEN 0 ELSE instr(substr(b, c), a) + c - 1 END"),
    ]),
    "unbase64": one(["a"], "from_base64(a)"),
    "sha": one(["a"], "sha1(a)"),
    "sha2": one(["a", "b"], "CASE WHEN b IN (0, 256) THEN sha256(a) ELSE error('sha2 knows 256 bits only') END"),
    "get_json_object": one(["a", "b"], "CASE WHEN json_valid(a) THEN json_extract_string(a, b) END"),
    // numbers
    "pmod": one(["a", "b"], "((a % b) + b) % b"),
    "shiftleft": one(["a", "b"], "a << b"),
    "shiftright": one(["a", "b"], "a >> b"),
    "rint": one(["a"], "round_even(CAST(a AS DOUBLE), 0)"),
    "bround": Macro(overloads: [Overload(["a"], "round_even(a, 0)"), Overload(["a", "b"], "round_even(a, b)")]),
    "signum": one(["a"], "CAST(sign(a) AS DOUBLE)"),
    "rand": Macro(overloads: [Overload([], "random()")]),
    // `a DIV b`, see `SparkSyntax`. Whole numbers never become floating point numbers, and the remainder of decimals is exact.
    "div": one(
      ["a", "b"],
      """
      CASE WHEN b = 0 THEN error('division by zero: try_divide gives NULL for it') \
      WHEN typeof(a) SIMILAR TO \(integers) AND typeof(b) SIMILAR TO \(integers) THEN CAST(a // b AS BIGINT) \
      WHEN typeof(a) IN ('FLOAT', 'DOUBLE') OR typeof(b) IN ('FLOAT', 'DOUBLE') THEN CAST(trunc(a / b) AS BIGINT) \
      ELSE CAST(round((a - a % b) / b) AS BIGINT) END
      """),
    "try_divide": one(["a", "b"], "CASE WHEN b = 0 THEN NULL ELSE a / b END"),
    // dates and times
    "add_months": one(["a", "b"], "CAST(CAST(a AS DATE) + to_months(CAST(b AS INTEGER)) AS DATE)"),
    "date_sub": Macro(
      overloads: [Overload(["a", "b"], "CAST(CAST(a AS DATE) - CAST(b AS INTEGER) AS DATE)")],
      passed: [Overload(["a", "b", "c"], "system.main.date_sub(a, b, c)")]),
    "datediff": Macro(
      overloads: [Overload(["a", "b"], "CAST(system.main.date_diff('day', CAST(b AS DATE), CAST(a AS DATE)) AS INTEGER)")],
      passed: [Overload(["a", "b", "c"], "system.main.date_diff(a, b, c)")]),
    "date_diff": Macro(
      overloads: [Overload(["a", "b"], "CAST(system.main.date_diff('day', CAST(b AS DATE), CAST(a AS DATE)) AS INTEGER)")],
      passed: [Overload(["a", "b", "c"], "system.main.date_diff(a, b, c)")]),
    "months_between": one(
      ["a", "b"],
      """
      CASE WHEN day(CAST(a AS DATE)) = day(CAST(b AS DATE)) OR \
      (last_day(CAST(a AS DATE)) = CAST(a AS DATE) AND last_day(CAST(b AS DATE)) = CAST(b AS DATE)) \
      THEN CAST((year(CAST(a AS DATE)) - year(CAST(b AS DATE))) * 12 + month(CAST(a AS DATE)) - month(CAST(b AS DATE)) AS DOUBLE) \
      ELSE round((year(CAST(a AS DATE)) - year(CAST(b AS DATE))) * 12 + month(CAST(a AS DATE)) - month(CAST(b AS DATE)) \
      + ((day(CAST(a AS DATE)) - day(CAST(b AS DATE))) * 86400 + epoch(CAST(CAST(a AS TIMESTAMP) AS TIME)) - epoch(CAST(CAST(b AS TIMESTAMP) AS TIME))) \
      / 2678400.0, 8) END
      """),
    "next_day": one(
      ["a", "b"],
      """
      CAST(CAST(a AS DATE) + CAST(1 + (list_position(['mo', 'tu', 'we', 'th', 'fr', 'sa', 'su'], lower(left(b, 2))) \
      - isodow(CAST(a AS DATE)) + 6) % 7 AS INTEGER) AS DATE)
      """),
    "to_date": Macro(overloads: [Overload(["a"], "CAST(a AS DATE)"), Overload(["a", "b"], "CAST(\(read("strptime")) AS DATE)")]),
    "to_timestamp": Macro(
      overloads: [Overload(["a", "b"], "CAST(\(read("strptime")) AS TIMESTAMPTZ)")], passed: [Overload(["a"], "system.main.to_timestamp(a)")]),
    "try_to_timestamp": Macro(overloads: [
      Overload(["a"], "TRY_CAST(a AS TIMESTAMPTZ)"), Overload(["a", "b"], "CAST(\(read("try_strptime")) AS TIMESTAMPTZ)"),
    ]),
    "date_format": one(["a", "b"], "strftime(CAST(a AS TIMESTAMP), b)"),
    "from_unixtime": Macro(overloads: [
      Overload(["a"], "strftime(make_timestamp(\(seconds)), '%Y-%m-%d %H:%M:%S')"), Overload(["a", "b"], "strftime(make_timestamp(\(seconds)), b)"),
    ]),
    "unix_timestamp": Macro(overloads: [
      Overload([], "CAST(floor(epoch(now())) AS BIGINT)"), Overload(["a"], "CAST(floor(epoch(CAST(a AS TIMESTAMP))) AS BIGINT)"),
      Overload(["a", "b"], "CAST(floor(epoch(\(read("strptime")))) AS BIGINT)"),
    ]),
    "unix_date": one(["a"], "CAST(CAST(a AS DATE) - DATE '1970-01-01' AS INTEGER)"),
    "unix_seconds": one(["a"], "CAST(floor(epoch(CAST(a AS TIMESTAMP))) AS BIGINT)"),
    "unix_millis": one(["a"], "epoch_ms(CAST(a AS TIMESTAMP))"),
    "timestamp_seconds": one(["a"], "to_timestamp(a)"),
    "timestamp_millis": one(["a"], "CAST(make_timestamp(CAST(a AS BIGINT) * 1000) AS TIMESTAMPTZ)"),
    "date_from_unix_date": one(["a"], "CAST(DATE '1970-01-01' + CAST(a AS INTEGER) AS DATE)"),
    "from_utc_timestamp": one(["a", "b"], "CAST(CAST(a AS TIMESTAMPTZ) AT TIME ZONE b AS TIMESTAMPTZ)"),
    "to_utc_timestamp": one(["a", "b"], "CAST(CAST(a AS TIMESTAMP) AT TIME ZONE b AS TIMESTAMPTZ)"),
    "curdate": Macro(overloads: [Overload([], "current_date")]),
    "current_timezone": Macro(overloads: [Overload([], "'UTC'")]),
    // lists
    "explode": one(["a"], "unnest(a)"),
    "size": one(["a"], "len(a)"),
    "array_size": one(["a"], "len(a)"),
    "array_join": Macro(overloads: [
      Overload(["a", "b"], "array_to_string(a, b)"),
      Overload(["a", "b", "c"], "array_to_string(list_transform(a, lambda __x: coalesce(CAST(__x AS VARCHAR), c)), b)"),
    ]),
    "array_max": one(["a"], "list_max(a)"),
    "array_min": one(["a"], "list_min(a)"),
    "array_remove": one(["a", "b"], "list_filter(a, lambda __x: __x <> b OR __x IS NULL)"),
    "array_repeat": one(["a", "b"], "list_transform(range(b), lambda __i: a)"),
    "sort_array": Macro(overloads: [
      Overload(["a"], "list_sort(a, 'ASC', 'NULLS FIRST')"),
      Overload(["a", "b"], "CASE WHEN b THEN list_sort(a, 'ASC', 'NULLS FIRST') ELSE list_sort(a, 'DESC', 'NULLS LAST') END"),
    ]),
    "slice": one(
      ["a", "b", "c"], "CASE WHEN b > 0 THEN list_slice(a, b, b + c - 1) ELSE list_slice(a, len(a) + b + 1, len(a) + b + c) END"),
    "map_from_arrays": one(["a", "b"], "map(a, b)"),
    // `exists(list, lambda)`, see `SparkSyntax`.
    "list_any_match": one(
      ["a", "b"],
      """
      CASE WHEN a IS NULL THEN NULL WHEN len(list_filter(a, b)) > 0 THEN true \
      WHEN len(list_filter(list_transform(a, b), lambda __x: __x IS NULL)) > 0 THEN NULL ELSE false END
      """),
    // types as functions
    "string": cast("VARCHAR"), "int": cast("INTEGER"), "bigint": cast("BIGINT"), "long": cast("BIGINT"), "smallint": cast("SMALLINT"),
    "tinyint": cast("TINYINT"), "double": cast("DOUBLE"), "float": cast("FLOAT"), "boolean": cast("BOOLEAN"), "timestamp": cast("TIMESTAMPTZ"),
  ]
}
