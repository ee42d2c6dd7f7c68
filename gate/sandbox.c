#include "gate/sandbox.h"
#include <errno.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <linux/landlock.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#define READ (LANDLOCK_ACCESS_FS_READ_FILE | LANDLOCK_ACCESS_FS_READ_DIR)
#define BASIC                                                                  \
    (READ | LANDLOCK_ACCESS_FS_EXECUTE | LANDLOCK_ACCESS_FS_WRITE_FILE |       \
     LANDLOCK_ACCESS_FS_REMOVE_DIR | LANDLOCK_ACCESS_FS_REMOVE_FILE |          \
     LANDLOCK_ACCESS_FS_MAKE_CHAR | LANDLOCK_ACCESS_FS_MAKE_DIR |              \
     LANDLOCK_ACCESS_FS_MAKE_REG | LANDLOCK_ACCESS_FS_MAKE_SOCK |              \
     LANDLOCK_ACCESS_FS_MAKE_FIFO | LANDLOCK_ACCESS_FS_MAKE_BLOCK |            \
     LANDLOCK_ACCESS_FS_MAKE_SYM)

/* Of newer kernels than the headers of Debian 12 know; each with the version
 * of Landlock that brought it. */
#define FS_REFER     (UINT64_C(1) << 13) /* 2: move between folders */
#define FS_TRUNCATE  (UINT64_C(1) << 14) /* 3 */
#define NET_BIND     (UINT64_C(1) << 0)  /* 4: TCP */
#define NET_CONNECT  (UINT64_C(1) << 1)  /* 4: TCP */
#define FS_IOCTL_DEV (UINT64_C(1) << 15) /* 5: of devices */
#define SCOPE_UNIX   (UINT64_C(1) << 0)  /* 6: abstract sockets of others */
#define SCOPE_SIGNAL (UINT64_C(1) << 1)  /* 6: to others */

/* struct landlock_ruleset_attr, as of version 6. */
struct ruleset {
    uint64_t fs, net, scoped;
};

static bool drop_capabilities(void)
{
    struct __user_cap_header_struct head = {.version =
                                                _LINUX_CAPABILITY_VERSION_3};
    struct __user_cap_data_struct none[2] = {{0}};

    return syscall(SYS_capset, &head, none) == 0;
}

static void allow(int rules, const char *path, __u64 what)
{
    struct landlock_path_beneath_attr rule = {.allowed_access = what};

    rule.parent_fd = open(path, O_PATH | O_CLOEXEC);
    if (rule.parent_fd < 0)
        return;
    (void)syscall(SYS_landlock_add_rule, rules, LANDLOCK_RULE_PATH_BENEATH,
                  &rule, 0);
    close(rule.parent_fd);
}

static void allow_beside(int rules, const char *file)
{
    char dir[4096];
    char *slash;

    snprintf(dir, sizeof dir, "%s", file);
    slash = strrchr(dir, '/');
    if (slash == dir)
        slash[1] = '\0';
    else if (slash)
        *slash = '\0';
    allow(rules, slash ? dir : ".", READ);
}

/* All that this kernel can forbid; older ones refuse what they do not know. */
static int create_rules(void)
{
    struct ruleset r = {.fs = BASIC};
    long version = syscall(SYS_landlock_create_ruleset, NULL, 0,
                           LANDLOCK_CREATE_RULESET_VERSION);
    size_t len = sizeof r.fs;

    if (version >= 2)
        r.fs |= FS_REFER;
    if (version >= 3)
        r.fs |= FS_TRUNCATE;
    if (version >= 4) {
        r.net = NET_BIND | NET_CONNECT;
        len += sizeof r.net;
    }
    if (version >= 5)
        r.fs |= FS_IOCTL_DEV;
    if (version >= 6) {
        r.scoped = SCOPE_UNIX | SCOPE_SIGNAL;
        len += sizeof r.scoped;
    }
    return (int)syscall(SYS_landlock_create_ruleset, &r, len, 0);
}

static bool restrict_rights(const char *config_file)
{
    int rules = create_rules();
    bool ok;

    if (rules < 0)
        return false;
    allow(rules, "/proc", READ);
    allow(rules, "/sys", READ);
    allow(rules, "/etc", READ); /* names are resolved */
    allow(rules, "/dev/urandom", LANDLOCK_ACCESS_FS_READ_FILE);
    if (config_file && config_file[0])
        allow_beside(rules, config_file);
    ok = syscall(SYS_landlock_restrict_self, rules, 0) == 0;
    close(rules);
    return ok;
}

void cv_gate_sandbox(struct cv_log *log, const char *config_file)
{
    if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0)
        cv_warn(log, "sandbox: new privileges stay possible: %s",
                strerror(errno));
    if (prctl(PR_SET_DUMPABLE, 0, 0, 0, 0) != 0)
        cv_warn(log, "sandbox: the key may be in a core dump");
    if (!restrict_rights(config_file))
        cv_warn(log, "sandbox: the kernel has no Landlock; files stay "
                     "reachable as the user's rights allow");
    if (!drop_capabilities())
        cv_warn(log, "sandbox: capabilities are kept: %s", strerror(errno));
}
