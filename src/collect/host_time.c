/* Clocks: what time it is here, what it is taken from, and how well it is kept. */
#include <errno.h>
#include <sys/timex.h>
#include <time.h>

#include "base/clock.h"
#include "collect/host_internal.h"

static void add_clocksource(struct host_scrape *scrape, struct ap_slice device, const char *name)
{
    static const struct family available = {"node_time_clocksource_available_info",
                                            "Available clocksources read from '/sys/devices/system/clocksource'.",
                                            FAMILY_GAUGE};
    static const struct family current = {"node_time_clocksource_current_info",
                                          "Current clocksource read from '/sys/devices/system/clocksource'.",
                                          FAMILY_GAUGE};
    AP_AUTO_FREE char *all_path = ap_asprintf("devices/system/clocksource/%s/available_clocksource", name);
    AP_AUTO_FREE char *current_path = ap_asprintf("devices/system/clocksource/%s/current_clocksource", name);
    struct ap_slice text, source;
    if (host_read_text(scrape, scrape->sys_fd, all_path, &text))
        while ((source = host_field(&text)).bytes)
            families_add2(scrape->families, &available, 1, "clocksource", source, "device", device);
    if (host_read_text(scrape, scrape->sys_fd, current_path, &text))
        families_add2(scrape->families, &current, 1, "clocksource", text, "device", device);
}

enum ap_rc host_time(struct host_scrape *scrape, struct ap_err *err)
{
    static const struct family seconds = {"node_time_seconds", "System time in seconds since epoch (1970).",
                                          FAMILY_GAUGE};
    static const struct family offset = {"node_time_zone_offset_seconds", "System time zone offset in seconds.",
                                         FAMILY_GAUGE};
    int64_t now_us = ap_clock_wall_us(&ap_clock_system);
    time_t now_s = (time_t)(now_us / AP_US_PER_S);
    struct tm here;
    families_add(scrape->families, &seconds, (double)now_us / AP_US_PER_S);
    if (localtime_r(&now_s, &here))
        families_add1(scrape->families, &offset, (double)here.tm_gmtoff, "time_zone", ap_slice_cstr(here.tm_zone));
    HOST_AUTO_NAMES struct host_names names = {0};
    if (host_list(scrape->sys_fd, "devices/system/clocksource", &names, err) != AP_OK)
        return AP_OK; /* the time itself is there */
    for (size_t i = 0; i < names.count; i++) {
        struct ap_slice device = host_digits_behind(ap_slice_cstr(names.items[i]), "clocksource");
        if (device.bytes)
            add_clocksource(scrape, device, names.items[i]);
    }
    return AP_OK;
}

#define PPM 65536e6 /* frequencies are in millionths with 16 bits behind the point */

enum ap_rc host_timex(struct host_scrape *scrape, struct ap_err *err)
{
    struct timex timex = {0};
    int state = adjtimex(&timex);
    if (state < 0)
        return ap_fail_errno(err, errno, "adjtimex");
    double second = timex.status & STA_NANO ? 1e9 : 1e6;
    const struct {
        struct family family;
        double value;
    } rows[] = {
        {{"node_timex_sync_status", "Is clock synchronized to a reliable server (1 = yes, 0 = no).", FAMILY_GAUGE},
         state != TIME_ERROR},
        {{"node_timex_offset_seconds", "Time offset in between local system and reference clock.", FAMILY_GAUGE},
         (double)timex.offset / second},
        {{"node_timex_frequency_adjustment_ratio", "Local clock frequency adjustment.", FAMILY_GAUGE},
         1 + (double)timex.freq / PPM},
        {{"node_timex_maxerror_seconds", "Maximum error in seconds.", FAMILY_GAUGE}, (double)timex.maxerror / 1e6},
        {{"node_timex_estimated_error_seconds", "Estimated error in seconds.", FAMILY_GAUGE},
         (double)timex.esterror / 1e6},
        {{"node_timex_status", "Value of the status array bits.", FAMILY_GAUGE}, timex.status},
        {{"node_timex_loop_time_constant", "Phase-locked loop time constant.", FAMILY_GAUGE}, (double)timex.constant},
        {{"node_timex_tick_seconds", "Seconds between clock ticks.", FAMILY_GAUGE}, (double)timex.tick / 1e6},
        {{"node_timex_pps_frequency_hertz", "Pulse per second frequency.", FAMILY_GAUGE}, (double)timex.ppsfreq / PPM},
        {{"node_timex_pps_jitter_seconds", "Pulse per second jitter.", FAMILY_GAUGE}, (double)timex.jitter / second},
        {{"node_timex_pps_shift_seconds", "Pulse per second interval duration.", FAMILY_GAUGE}, timex.shift},
        {{"node_timex_pps_stability_hertz", "Pulse per second stability, average of recent frequency changes.",
          FAMILY_GAUGE},
         (double)timex.stabil / PPM},
        {{"node_timex_pps_jitter_total", "Pulse per second count of jitter limit exceeded events.", FAMILY_COUNTER},
         (double)timex.jitcnt},
        {{"node_timex_pps_calibration_total", "Pulse per second count of calibration intervals.", FAMILY_COUNTER},
         (double)timex.calcnt},
        {{"node_timex_pps_error_total", "Pulse per second count of calibration errors.", FAMILY_COUNTER},
         (double)timex.errcnt},
        {{"node_timex_pps_stability_exceeded_total", "Pulse per second count of stability limit exceeded events.",
          FAMILY_COUNTER},
         (double)timex.stbcnt},
        {{"node_timex_tai_offset_seconds", "International Atomic Time (TAI) offset.", FAMILY_GAUGE}, timex.tai},
    };
    for (size_t i = 0; i < AP_ARRAY_COUNT(rows); i++)
        families_add(scrape->families, &rows[i].family, rows[i].value);
    return AP_OK;
}
