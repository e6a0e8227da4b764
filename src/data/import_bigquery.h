/* import_bigquery.h - rows out of BigQuery, by its REST API
 * (cloud.google.com/bigquery/docs/reference: tables.get, jobs.query, jobs.getQueryResults).
 *
 * Of a table only the columns that are of use are asked for, since a query is paid for by the bytes
 * of the columns it reads.  BIGQUERY_EMULATOR_HOST (host:port, or a URL) is asked instead of
 * Google, without credentials.
 */
#ifndef DATA_IMPORT_BIGQUERY_H
#define DATA_IMPORT_BIGQUERY_H

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "data/import.h"
#include "net/net.h"

struct bigquery_source {
    const char *table;            /* "project.dataset.table", or NULL with ... */
    const char *query;            /* ... a query in GoogleSQL */
    const char *project;          /* that runs and pays; NULL: that of the credentials, else the
                                     table's */
    int64_t limit;                /* rows of a table, 0: all */
};

/* Is it the name of a table: three names apart by dots, or bq://...? */
bool bigquery_is_table(const char *name);

/* All rows, or as many as the import takes.  A table that is not there or may not be read, and a
 * query that BigQuery does not understand, are errors with its own words. */
int import_bigquery(struct import *m, struct net *net, const struct bigquery_source *s,
                    struct err *e) MUST_CHECK;

#endif
