#include "ingest/geo.h"

#include <errno.h>
#include <maxminddb.h>
#include <stddef.h>

struct geo {
    MMDB_s database;
};

enum ap_rc geo_open(const char *path, struct geo **ret_geo, struct ap_err *err)
{
    struct geo *geo = ap_new0(struct geo);
    int status = MMDB_open(path, MMDB_MODE_MMAP, &geo->database);
    if (status != MMDB_SUCCESS) {
        int errno_value = errno;
        free(geo);
        if (status == MMDB_FILE_OPEN_ERROR)
            return ap_fail_errno(err, errno_value, "open the country file %s", path);
        return ap_fail(err, AP_E_CORRUPT, "the country file %s is not a usable MaxMind DB: %s", path,
                       MMDB_strerror(status));
    }
    *ret_geo = geo;
    return AP_OK;
}

void geo_close(struct geo *geo)
{
    if (!geo)
        return;
    MMDB_close(&geo->database);
    free(geo);
}

static bool is_letter(char c)
{
    return (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z');
}

/* A country code under `path`; the file is outside data, so what is no code is none. */
static bool read_country(MMDB_entry_s *entry, const char *const *path, char ret_country[GEO_COUNTRY_BYTES])
{
    MMDB_entry_data_s data;
    if (MMDB_aget_value(entry, &data, path) != MMDB_SUCCESS || !data.has_data ||
        data.type != MMDB_DATA_TYPE_UTF8_STRING || data.data_size != 2 || !is_letter(data.utf8_string[0]) ||
        !is_letter(data.utf8_string[1]))
        return false;
    for (int i = 0; i < 2; i++)
        ret_country[i] = (char)(data.utf8_string[i] & ~0x20); /* upper case */
    ret_country[2] = '\0';
    return true;
}

bool geo_country(const struct geo *geo, const struct sockaddr *address, char ret_country[GEO_COUNTRY_BYTES])
{
    ret_country[0] = '\0';
    if (!geo)
        return false;
    int status = MMDB_SUCCESS;
    MMDB_lookup_result_s result = MMDB_lookup_sockaddr(&geo->database, address, &status);
    if (status != MMDB_SUCCESS || !result.found_entry)
        return false;
    static const char *const flat[] = {"country_code", NULL};
    static const char *const nested[] = {"country", "iso_code", NULL};
    return read_country(&result.entry, flat, ret_country) || read_country(&result.entry, nested, ret_country);
}
