#include "cli/findings.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

/* Into an array, what a function with `format` and `...` was called with. */
#define PRINT(out, format)                                                     \
    do {                                                                       \
        va_list args_;                                                         \
        va_start(args_, format);                                               \
        vsnprintf((out), sizeof(out), (format), args_);                        \
        va_end(args_);                                                         \
    } while (0)

struct cv_finding *cv_finding_add(struct cv_findings *all, const char *name,
                                  enum cv_finding_status status,
                                  const char *format, ...)
{
    struct cv_finding *f;

    if (all->n == CV_FINDINGS_MAX)
        return NULL;
    f = &all->f[all->n++];
    memset(f, 0, sizeof *f);
    f->name = name;
    f->status = status;
    PRINT(f->seen, format);
    return f;
}

void cv_finding_means(struct cv_finding *f, const char *format, ...)
{
    if (f == NULL)
        return;
    PRINT(f->means, format);
}

void cv_finding_todo(struct cv_finding *f, const char *format, ...)
{
    if (f == NULL)
        return;
    PRINT(f->todo, format);
}

const char *cv_finding_status_name(enum cv_finding_status status)
{
    static const char *const name[] = {"ok", "note", "problem", "unknown"};

    return name[status];
}

enum cv_finding_status cv_findings_worst(const struct cv_findings *all)
{
    static const int weight[] = {0, 1, 3, 2};
    enum cv_finding_status worst = CV_FINDING_OK;

    for (unsigned i = 0; i < all->n; i++)
        if (weight[all->f[i].status] > weight[worst])
            worst = all->f[i].status;
    return worst;
}

static unsigned count(const struct cv_findings *all,
                      enum cv_finding_status status)
{
    unsigned n = 0;

    for (unsigned i = 0; i < all->n; i++)
        n += all->f[i].status == status;
    return n;
}

static void put(struct cv_writer *out, const char *text)
{
    cv_put_raw(out, text, strlen(text));
}

void cv_findings_text(const struct cv_findings *all, struct cv_writer *out)
{
    unsigned problems = count(all, CV_FINDING_PROBLEM);
    char line[CV_FINDING_TEXT + 64];

    for (unsigned i = 0; i < all->n; i++) {
        const struct cv_finding *f = &all->f[i];

        snprintf(line, sizeof line, "%-8s %-11s %s\n",
                 cv_finding_status_name(f->status), f->name, f->seen);
        put(out, line);
        if (f->means[0] != '\0') {
            snprintf(line, sizeof line, "                     %s\n", f->means);
            put(out, line);
        }
        if (f->todo[0] != '\0') {
            snprintf(line, sizeof line, "                     -> %s\n",
                     f->todo);
            put(out, line);
        }
    }
    if (problems == 0)
        snprintf(line, sizeof line, "\nNothing stands in the way.\n");
    else
        snprintf(line, sizeof line,
                 "\n%u problem%s. What each line means: "
                 ":help covim-doctor, docs/troubleshooting.md\n",
                 problems, problems == 1 ? "" : "s");
    put(out, line);
}

void cv_findings_json(const struct cv_findings *all, struct cv_json_out *out)
{
    cv_json_put_text(out, "worst",
                     cv_finding_status_name(cv_findings_worst(all)));
    cv_json_begin(out, "findings", '[');
    for (unsigned i = 0; i < all->n; i++) {
        const struct cv_finding *f = &all->f[i];

        cv_json_begin(out, NULL, '{');
        cv_json_put_text(out, "name", f->name);
        cv_json_put_text(out, "status", cv_finding_status_name(f->status));
        cv_json_put_text(out, "seen", f->seen);
        if (f->means[0] != '\0')
            cv_json_put_text(out, "means", f->means);
        if (f->todo[0] != '\0')
            cv_json_put_text(out, "todo", f->todo);
        cv_json_end(out, '}');
    }
    cv_json_end(out, ']');
}
