/* xml.h - text out of the small XML answers of S3: elements by name, without namespaces, comments
 * or nesting of equal names, which those answers do not have. */
#ifndef NET_XML_H
#define NET_XML_H

#include <stdbool.h>
#include <stddef.h>

struct xml_slice {
    const char *at;               /* points into the text that was searched */
    size_t size;
};

/* What stands between <name ...> and </name>, the first from the front of `in`; `in` becomes what
 * is behind it.  False, and `in` as it was, when there is none (or it does not end). */
bool xml_next(struct xml_slice *in, const char *name, struct xml_slice *inside);

/* The text of the first such element, entities replaced.  NULL when there is none; the caller
 * frees. */
char *xml_text(struct xml_slice in, const char *name);

#endif
