#include "scrape/failure_log.h"

#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/clock.h"
#include "scrape/fetch.h"

enum { FILE_MODE = 0640 };

enum ap_rc failure_log_add(const struct scrape_target *target, const char *reason, struct ap_err *err)
{
    const char *path = target->job->failure_log_file;
    AP_AUTO_FD int fd = open(path, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, FILE_MODE);
    if (fd < 0)
        return ap_fail_errno(err, errno, "scrape_failure_log_file: open %s", path);
    char time_text[AP_TIME_TEXT_BYTES];
    AP_AUTO_BUF struct ap_buf line = {0};
    AP_AUTO_BUF struct ap_buf url = {0};
    ap_time_format(ap_clock_wall_us(&ap_clock_system), time_text);
    fetch_add_url(&url, target->url);
    ap_buf_printf(&line, "{\"time\":\"%s\",\"level\":\"ERROR\",\"msg\":", time_text);
    ap_buf_add_json_string(&line, ap_slice_cstr(reason));
    ap_buf_add_cstr(&line, ",\"job_name\":");
    ap_buf_add_json_string(&line, ap_slice_cstr(target->job->name));
    ap_buf_add_cstr(&line, ",\"target\":");
    ap_buf_add_json_string(&line, ap_buf_slice(&url));
    ap_buf_add_cstr(&line, "}\n");
    /* One write: lines of several threads do not mix. */
    ssize_t written = write(fd, line.data, line.bytes);
    if (written != (ssize_t)line.bytes)
        return ap_fail_errno(err, written < 0 ? errno : ENOSPC, "scrape_failure_log_file: write %s", path);
    return AP_OK;
}
