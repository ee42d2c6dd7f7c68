#include "gate/sandbox.h"
#include <errno.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <linux/landlock.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#define READ (LANDLOCK_ACCESS_FS_READ_FILE | LANDLOCK_ACCESS_FS_READ_DIR)
#define ALL                                                                    \
    (READ | LANDLOCK_ACCESS_FS_EXECUTE | LANDLOCK_ACCESS_FS_WRITE_FILE |       \
     LANDLOCK_ACCESS_FS_REMOVE_DIR | LANDLOCK_ACCESS_FS_REMOVE_FILE |          \
     LANDLOCK_ACCESS_FS_MAKE_CHAR | LANDLOCK_ACCESS_FS_MAKE_DIR |              \
     LANDLOCK_ACCESS_FS_MAKE_REG | LANDLOCK_ACCESS_FS_MAKE_SOCK |              \
     LANDLOCK_ACCESS_FS_MAKE_FIFO | LANDLOCK_ACCESS_FS_MAKE_BLOCK |            \
     LANDLOCK_ACCESS_FS_MAKE_SYM)

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

static bool restrict_files(const char *config_file)
{
    struct landlock_ruleset_attr attr = {.handled_access_fs = ALL};
    int rules =
        (int)syscall(SYS_landlock_create_ruleset, &attr, sizeof attr, 0);
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
    if (!restrict_files(config_file))
        cv_warn(log, "sandbox: the kernel has no Landlock; files stay "
                     "reachable as the user's rights allow");
    if (!drop_capabilities())
        cv_warn(log, "sandbox: capabilities are kept: %s", strerror(errno));
}
