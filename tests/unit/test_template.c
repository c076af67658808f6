#include "template/template.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

static const char *const names[] = {"$labels", "$value"};

/* The text it gives, or the sentence of what failed. */
static void expand(const char *text, double value, struct ap_buf *out)
{
    struct template_member members[] = {
        {ap_slice_cstr("instance"), template_text(ap_slice_cstr("db1.example.com:9100"))},
        {ap_slice_cstr("job"), template_text(ap_slice_cstr("api"))},
    };
    struct template_value values[] = {{.kind = TEMPLATE_MAP, .map = {members, 2}}, template_float(value)};
    struct template_value list[] = {template_text(ap_slice_cstr("a")), template_text(ap_slice_cstr("b"))};
    struct template_member data[] = {{ap_slice_cstr("List"), {.kind = TEMPLATE_LIST, .list = {list, 2}}},
                                     {ap_slice_cstr("Labels"), values[0]}};
    struct template_environment environment = {.dot = {.kind = TEMPLATE_STRUCT, .map = {data, 2}},
                                               .variables = values,
                                               .external_url = ap_slice_cstr("https://a.example/mon")};
    AP_AUTO(template) struct template *template = NULL;
    struct ap_err err = {0};
    enum ap_rc rc = template_parse(ap_slice_cstr(text), names, 2, &template, &err);
    if (rc == AP_OK)
        rc = template_run(template, &environment, out, &err);
    if (rc != AP_OK)
        ap_buf_printf(out, "ERROR %s", err.text);
    ap_buf_add_char(out, '\0');
}

#define GIVES(text, value, want)                                                                                       \
    do {                                                                                                               \
        AP_AUTO_BUF struct ap_buf out = {0};                                                                           \
        expand(text, value, &out);                                                                                     \
        assert_string_equal(out.data, want);                                                                           \
    } while (0)
#define FAILS(text, want)                                                                                              \
    do {                                                                                                               \
        AP_AUTO_BUF struct ap_buf out = {0};                                                                           \
        expand(text, 0, &out);                                                                                         \
        if (!strstr(out.data, "ERROR") || !strstr(out.data, want))                                                     \
            fail_msg("%s", out.data);                                                                                  \
    } while (0)

static void test_language(void **state)
{
    (void)state;
    GIVES("plain", 0, "plain");
    GIVES("{{ $labels.job }}: {{ $value }}", 0.25, "api: 0.25");
    GIVES("{{ $labels.missing }}|{{ .Labels.instance }}", 0, "|db1.example.com:9100");
    GIVES("a  {{- /* c */ -}}  b", 0, "ab");
    GIVES("a {{- 1 -}} b", 0, "a1b");
    GIVES("{{ if gt $value 1.0 }}high{{ else if gt $value 0.5 }}half{{ else }}low{{ end }}", 0.7, "half");
    GIVES("{{ with $labels.none }}x{{ else }}none{{ end }}", 0, "none");
    GIVES("{{ range $i, $e := .List }}{{ if $i }},{{ end }}{{ $i }}{{ $e }}{{ end }}", 0, "0a,1b");
    GIVES("{{ range $k, $v := $labels }}{{ $k }}={{ $v }};{{ end }}", 0, "instance=db1.example.com:9100;job=api;");
    GIVES("{{ range .List }}{{ if eq . \"b\" }}{{ break }}{{ end }}{{ . }}{{ end }}", 0, "a");
    GIVES("{{ range 3 }}{{ if eq . 1 }}{{ continue }}{{ end }}{{ . }}{{ end }}", 0, "02");
    GIVES("{{ $x := 1 }}{{ if true }}{{ $x = 2 }}{{ end }}{{ $x }}", 0, "2");
    GIVES("{{ define \"t\" }}<{{ . }}>{{ end }}{{ template \"t\" \"x\" }}{{ tmpl \"t\" 3 }}", 0, "<x><3>");
    GIVES("{{ block \"b\" $value }}[{{ . }}]{{ end }}", 2, "[2]");
    GIVES("{{ (args 1 \"two\").arg1 }}{{ index .List 1 }}{{ len .List }}", 0, "twob2");
    GIVES("{{ and 0 (index .List 9) }}{{ or \"x\" (index .List 9) }}", 0, "0x");
    GIVES("{{ index \"abc\" 1 }} {{ gt $value 1.0 }} {{ lt $value 1.0 }}", NAN, "98 true false");
    GIVES("{{ 'a' }} {{ 0x10 }} {{ 1e3 }} {{ `raw\\n` }} {{ \"\\u00e9\" }}", 0, "97 16 1000 raw\\n \xC3\xA9");
    GIVES("{{ .List }} {{ print 1 2 \"a\" 3 }} {{ $labels }}", 0,
          "[a b] 1 2a3 map[instance:db1.example.com:9100 job:api]");
    GIVES("{{ $value }}", 1e21, "1e+21");
    GIVES("{{ $value }} {{ $value | printf \"%v\" }}", 1234567.5, "1.2345675e+06 1.2345675e+06");
    GIVES("{{ $value }}", 999999, "999999");
    GIVES("{{ $value }}", 0.00001, "1e-05");
    GIVES("{{ $value }}", 123456789, "1.23456789e+08");
}

static void test_printf(void **state)
{
    (void)state;
    GIVES("{{ printf \"%.2f|%5d|%-5d|%05d|%x|%q|%s|%v|%t|%%\" $value 3 3 3 255 \"a\\\"b\" \"s\" 1.5 true }}", 1.234,
          "1.23|    3|3    |00003|ff|\"a\\\"b\"|s|1.5|true|%");
    GIVES("{{ printf \"%-6.1f|%06.1f|%q|%U|%c\" $value $value 66 233 233 }}", INFINITY,
          "+Inf  |  +Inf|'B'|U+00E9|\xC3\xA9");
    GIVES("{{ $value | printf \"%e %d\" 1.5 }}", 2, "1.500000e+00 %!d(float64=2)");
    GIVES("{{ printf \"%d\" }}{{ printf \"x\" 1 }}", 0, "%!d(MISSING)x%!(EXTRA int=1)");
}

static void test_figures(void **state)
{
    (void)state;
    GIVES("{{ $value | humanize }}", 1234567, "1.235M");
    GIVES("{{ $value | humanize }}", 0.0012, "1.2m");
    GIVES("{{ $value | humanize }}", 0, "0");
    GIVES("{{ $value | humanize1024 }}", 1048576, "1Mi");
    GIVES("{{ $value | humanizeDuration }}", 93784.5, "1d 2h 3m 4s");
    GIVES("{{ $value | humanizeDuration }}", 12.345678, "12.35s");
    GIVES("{{ $value | humanizeDuration }}", 0.0155, "15.5ms");
    GIVES("{{ $value | humanizeDuration }}", -61, "-1m 1s");
    GIVES("{{ $value | humanizePercentage }}", 0.12345, "12.35%");
    GIVES("{{ $value | humanizeTimestamp }}", 0.0123456, "1970-01-01 00:00:00.012 +0000 UTC");
    GIVES("{{ $value | humanizeTimestamp }}", 1435065584.5, "2015-06-23 13:19:44.5 +0000 UTC");
    GIVES("{{ \"1.5\" | humanize }} {{ 2000 | humanize }}", 0, "1.5 2k");
    GIVES("{{ parseDuration \"1h30m\" }}", 0, "5400");
}

static void test_text(void **state)
{
    (void)state;
    GIVES("{{ reReplaceAll \"(.*):\\\\d+\" \"$1!\" $labels.instance }}", 0, "db1.example.com!");
    GIVES("{{ match \"^db[0-9]\" $labels.instance }} {{ match \"x\" $labels.job }}", 0, "true false");
    GIVES("{{ stripPort $labels.instance }} {{ stripDomain $labels.instance }} {{ stripDomain \"10.0.0.1:80\" }}", 0,
          "db1.example.com db1:9100 10.0.0.1:80");
    GIVES("{{ title \"\u00e9t\u00e9 \u00e0 l'eau\" }} {{ toUpper \"\u00df\u00e9\" }} {{ toLower \"\u0414\" }}", 0,
          "\u00c9t\u00e9 \u00c0 L'eau \u00df\u00c9 \u0434");
    GIVES("{{ title \"two words\" }} {{ toUpper \"a\" }} {{ toLower \"B\" }}", 0, "Two Words A b");
    GIVES("{{ graphLink \"up == 0\" }} {{ externalURL }} {{ pathPrefix }}", 0,
          "/graph?g0.expr=up+%3D%3D+0&g0.tab=0 https://a.example/mon /mon");
    GIVES("{{ html \"<a>\" }}", 0, "&lt;a&gt;");
}

static void test_errors(void **state)
{
    (void)state;
    FAILS("{{ $nope }}", "line 1, column 4: undefined variable \"$nope\"");
    FAILS("a\n {{ nope 1 }}", "line 2, column 5: function \"nope\" not defined");
    FAILS("{{ if 1 }}", "no {{end}}");
    FAILS("{{ end }}", "unexpected {{end}}");
    FAILS("{{ 1", "unclosed action");
    FAILS("{{ \"a }}", "unterminated");
    FAILS("{{ break }}", "outside {{range}}");
    FAILS("{{ 1e21 | humanizeTimestamp }}", "1e+21 cannot be represented");
    FAILS("{{ .Nope }}", "no field Nope");
    FAILS("{{ gt $value 1 }}", "incompatible types for comparison");
    FAILS("{{ first .List | label \"x\" }}", "expected a sample");
    FAILS("{{ query \"up\" }}", "nothing to query");
    FAILS("{{ define \"t\" }}{{ template \"t\" }}{{ end }}{{ template \"t\" }}", "templates run each other");
    FAILS("{{ range 100000 }}{{ range 100000 }}{{ end }}{{ end }}", "runs for too long");
    FAILS("{{ range 900000 }}0123456789{{ end }}", "too long");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_language), cmocka_unit_test(test_printf), cmocka_unit_test(test_figures),
        cmocka_unit_test(test_text),     cmocka_unit_test(test_errors),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
