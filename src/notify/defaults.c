/*
 * Names and what they give are Alertmanager's, so that templates that were written for it find what they build upon.
 * The page of an e-mail says the same in a form of our own.
 */
#include "notify/defaults.h"

#define DEFINE(name, text) "{{ define \"" name "\" }}" text "{{ end }}"
#define RUN(name)          "{{ template \"" name "\" . }}"
#define PAIRS              "{{ range .Labels.SortedPairs }} - {{ .Name }} = {{ .Value }}\n{{ end }}"
#define NOTES              "{{ range .Annotations.SortedPairs }} - {{ .Name }} = {{ .Value }}\n{{ end }}"

#define SANS "font-family:Helvetica,Arial,sans-serif;font-size:14px;line-height:1.6;"

const char message_default_templates[] = DEFINE("__alertmanager", "Alertmanager")
    DEFINE("__alertmanagerURL", "{{ .ExternalURL }}/#/alerts?receiver={{ .Receiver | urlquery }}") DEFINE(
        "__subject", "[{{ .Status | toUpper }}{{ if eq .Status \"firing\" }}:{{ .Alerts.Firing | len }}{{ end }}] "
                     "{{ if .FallbackFor }}in place of {{ .FallbackFor }}: {{ end }}"
                     "{{ .GroupLabels.SortedPairs.Values | join \" \" }} "
                     "{{ if gt (len .CommonLabels) (len .GroupLabels) }}"
                     "({{ with .CommonLabels.Remove .GroupLabels.Names }}{{ .Values | join \" \" }}{{ end }}){{ end }}")
        DEFINE("__description", "") DEFINE("__text_alert_list", "{{ range . }}Labels:\n" PAIRS "Annotations:\n" NOTES
                                                                "Source: {{ .GeneratorURL }}\n{{ end }}")

            DEFINE("slack.default.title", RUN("__subject")) DEFINE(
                "slack.default.username",
                RUN("__alertmanager")) DEFINE("slack.default.fallback",
                                              RUN("slack.default.title") " | " RUN(
                                                  "slack.default.titlelink")) DEFINE("slack.default.callbackid", "")
                DEFINE("slack.default.pretext", "") DEFINE("slack.default.titlelink", RUN("__alertmanagerURL")) DEFINE(
                    "slack.default.iconemoji", "") DEFINE("slack.default.iconurl",
                                                          "") DEFINE("slack.default.text",
                                                                     "") DEFINE("slack.default.footer", "")

                    DEFINE("pagerduty.default.description", RUN("__subject")) DEFINE("pagerduty.default.client",
                                                                                     RUN("__alertmanager"))
                        DEFINE("pagerduty.default.clientURL",
                               RUN("__alertmanagerURL")) DEFINE("pagerduty.default.instances", RUN("__text_alert_list"))

                            DEFINE("email.default.subject", RUN("__subject")) DEFINE(
                                "__html_alert_list",
                                "{{ range . }}<p><strong>Labels</strong><br>\n"
                                "{{ range .Labels.SortedPairs }}{{ .Name }} = {{ .Value }}<br>\n{{ end }}"
                                "{{ if gt (len .Annotations) 0 }}<strong>Annotations</strong><br>\n{{ end }}"
                                "{{ range .Annotations.SortedPairs }}{{ .Name }} = {{ .Value }}<br>\n{{ end }}"
                                "<a href=\"{{ .GeneratorURL }}\">Source</a></p>\n{{ end }}")
                                DEFINE(
                                    "email.default.html",
                                    "<!DOCTYPE html>\n<html>\n<head><meta charset=\"utf-8\"><meta name=\"viewport\" "
                                    "content=\"width=device-width\">"
                                    "<title>" RUN(
                                        "__subject") "</title></head>\n"
                                                     "<body "
                                                     "style=\"margin:0;padding:16px;background:#f4f4f4;color:#222;" SANS
                                                     "\">\n"
                                                     "<div style=\"max-width:600px;margin:0 "
                                                     "auto;background:#fff;border:1px solid "
                                                     "#ddd;border-radius:4px;\">\n"
                                                     "<div style=\"padding:16px;color:#fff;border-radius:4px 4px 0 0;"
                                                     "background:{{ if eq .Status \"firing\" }}#b3261e{{ else "
                                                     "}}#2e7d32{{ end }};\">"
                                                     "{{ .Alerts | len }} alert{{ if gt (len .Alerts) 1 }}s{{ end }} "
                                                     "for "
                                                     "{{ range .GroupLabels.SortedPairs }}{{ .Name }}={{ .Value }} {{ "
                                                     "end }}</div>\n"
                                                     "<div style=\"padding:16px;\">\n"
                                                     "<p><a href=\"" RUN("__alertmanagerURL") "\">View in " RUN(
                                                         "__alertmanager") "</a></p>\n"
                                                                           "{{ if gt (len .Alerts.Firing) 0 "
                                                                           "}}<p><strong>[{{ .Alerts.Firing | len }}] "
                                                                           "Firing</strong></p>\n{{ end }}"
                                                                           "{{ template \"__html_alert_list\" "
                                                                           ".Alerts.Firing }}"
                                                                           "{{ if gt (len .Alerts.Resolved) 0 }}{{ if "
                                                                           "gt (len .Alerts.Firing) 0 }}<hr>\n{{ end }}"
                                                                           "<p><strong>[{{ .Alerts.Resolved | len }}] "
                                                                           "Resolved</strong></p>\n{{ end }}"
                                                                           "{{ template \"__html_alert_list\" "
                                                                           ".Alerts.Resolved }}"
                                                                           "</div>\n</div>\n<p "
                                                                           "style=\"text-align:center;color:#777;font-"
                                                                           "size:12px;\">"
                                                                           "<a href=\"{{ .ExternalURL }}\">Sent "
                                                                           "by " RUN(
                                                                               "__alertmanager") "</a></p>\n</body>\n</"
                                                                                                 "html>\n");
