/* retry.c - see retry.h. */
#include "net/retry.h"

#include <ctype.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

bool retry_status(int status)
{
    if (status == 408 || status == 429)
        return true;
    return status >= 500 && status <= 599 && status != 501 && status != 505;
}

void retry_spend(struct retry *t, double seconds)
{
    if (seconds > RETRY_TRY_MAX_S)
        seconds = RETRY_TRY_MAX_S;
    t->used_s += seconds > RETRY_TRY_MIN_S ? seconds : RETRY_TRY_MIN_S;
}

double retry_delay(const struct retry_policy *p, int k, double random, double after_s)
{
    double most = k > 60 ? p->cap_s : ldexp(p->first_s, k);
    if (most > p->cap_s)
        most = p->cap_s;
    return random * most + (after_s > 0 ? after_s : 0);
}

double retry_next(struct retry *t, double random, double after_s)
{
    double left = t->policy.budget_s - t->used_s;
    double wait = retry_delay(&t->policy, t->failures++, random, after_s);
    if (left <= 0 || after_s > left)
        return -1;
    return wait < left ? wait : left;
}

/* ------------------------------------------------------------------ dates -- */

/* Days from 1970-01-01 to a day of the Gregorian calendar (Hinnant: "chrono-compatible low-level
 * date algorithms", days_from_civil). */
static int64_t days_from_civil(int64_t year, int month, int day)
{
    year -= month <= 2;
    int64_t era = (year >= 0 ? year : year - 399) / 400, of_era = year - era * 400;
    int64_t of_year = (153 * (month + (month > 2 ? -3 : 9)) + 2) / 5 + day - 1;
    return era * 146097 + of_era * 365 + of_era / 4 - of_era / 100 + of_year - 719468;
}

static int month_of(const char *name)
{
    static const char names[] = "JanFebMarAprMayJunJulAugSepOctNovDec";
    const char *at = strlen(name) == 3 ? strstr(names, name) : NULL;
    return at && (at - names) % 3 == 0 ? (int)(at - names) / 3 + 1 : 0;
}

int64_t retry_date(const char *text)
{
    char name[4] = "", zone[4] = "";
    int day, year, hour, minute, second, end = 0;
    const char *comma = strchr(text, ',');
    if (comma && sscanf(comma + 1, " %2d %3[A-Za-z] %4d %2d:%2d:%2d %3[A-Z]%n", &day, name, &year,
                        &hour, &minute, &second, zone, &end) == 7) {
        text = comma + 1;
    } else if (comma && sscanf(comma + 1, " %2d-%3[A-Za-z]-%2d %2d:%2d:%2d %3[A-Z]%n", &day, name,
                               &year, &hour, &minute, &second, zone, &end) == 7) {
        text = comma + 1;
        year += year < 70 ? 2000 : 1900;
    } else if (!comma && sscanf(text, "%*3[A-Za-z] %3[A-Za-z] %2d %2d:%2d:%2d %4d%n", name, &day,
                                &hour, &minute, &second, &year, &end) == 6) {
        memcpy(zone, "GMT", sizeof zone);
    } else {
        return -1;
    }
    int month = month_of(name);
    if (text[end + (int)strspn(text + end, " ")] || strcmp(zone, "GMT") != 0 || !month || day < 1 ||
        day > 31 || year < 1970 || hour < 0 || hour > 23 || minute < 0 || minute > 59 ||
        second < 0 || second > 60)
        return -1;
    return days_from_civil(year, month, day) * 86400 + hour * 3600 + minute * 60 + second;
}

/* A decimal number without sign; false when something else stands there.  `*end`: behind it. */
static bool number_of(const char *text, double *number, const char **end)
{
    size_t digits = strspn(text, "0123456789");
    *number = 0;
    for (size_t i = 0; i < digits; i++)
        *number = 10 * *number + (text[i] - '0');
    if (*number > RETRY_AFTER_MAX_S)
        *number = RETRY_AFTER_MAX_S;
    *end = text + digits;
    return digits > 0;
}

double retry_after(const char *value, int64_t now)
{
    double seconds;
    const char *end;
    value += strspn(value, " \t");
    if (number_of(value, &seconds, &end)) {
        /* Fractions are not in the standard; servers send them. */
        end += *end == '.' ? 1 + strspn(end + 1, "0123456789") : 0;
        return end[strspn(end, " \t")] ? 0 : seconds;
    }
    int64_t date = retry_date(value);
    if (date <= now)
        return 0;
    seconds = (double)(date - now);
    return seconds < RETRY_AFTER_MAX_S ? seconds : RETRY_AFTER_MAX_S;
}

/* The number behind ";NAME=", -1 when there is none. */
static double parameter_of(const char *value, char name)
{
    double number;
    const char *end;
    for (const char *at = strchr(value, ';'); at; at = strchr(at + 1, ';')) {
        const char *key = at + 1 + strspn(at + 1, " ");
        if (key[0] == name && key[1] == '=' && number_of(key + 2, &number, &end))
            return number;
    }
    return -1;
}

double retry_rate_limit(const char *value)
{
    double left = parameter_of(value, 'r'), seconds = parameter_of(value, 't');
    return left == 0 && seconds > 0 ? seconds : 0;
}
