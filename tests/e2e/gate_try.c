/* What a gate could do if somebody else had the say in it: loaded into
 * covim-gate (LD_PRELOAD), it tries on SIGUSR1 what GATE_TRY names, a folder,
 * and all else that its sandbox forbids, and writes to GATE_TRY/tried what came
 * of each, an errno a line. */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

static int fd = -1;
static char secret[4096], fresh[4096];

static void tell(const char *what, long result)
{
    char line[100];
    int n = snprintf(line, sizeof line, "%s %s\n", what,
                     result >= 0       ? "done"
                     : errno == EACCES ? "forbidden"
                     : errno == EPERM  ? "forbidden"
                                       : strerror(errno));

    if (write(fd, line, (size_t)n) != n)
        abort();
    if (result > 2)
        close((int)result);
}

static long tcp(int (*way)(int, const struct sockaddr *, socklen_t))
{
    struct sockaddr_in at = {.sin_family = AF_INET};
    int s = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), rv, why;

    at.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    at.sin_port = htons(1); /* nobody is there */
    rv = way(s, (struct sockaddr *)&at, sizeof at);
    why = errno;
    close(s);
    errno = why;
    return rv;
}

static void try_all(int number)
{
    char *const argv[] = {secret, NULL};

    (void)number;
    tell("read-proc", open("/proc/self/status", O_RDONLY | O_CLOEXEC));
    tell("read", open(secret, O_RDONLY | O_CLOEXEC));
    tell("create", open(fresh, O_WRONLY | O_CREAT | O_CLOEXEC, 0600));
    tell("remove", unlink(secret));
    tell("connect", tcp(connect));
    tell("bind", tcp(bind));
    tell("signal", kill(getppid(), 0));
    tell("execute", execv("/bin/true", argv)); /* the end if it may */
}

__attribute__((constructor)) static void begin(void)
{
    struct sigaction act = {.sa_handler = try_all};
    const char *dir = getenv("GATE_TRY");
    char path[4096];

    if (!dir || sigaction(SIGUSR1, &act, NULL) != 0)
        abort();
    snprintf(path, sizeof path, "%s/tried", dir);
    snprintf(secret, sizeof secret, "%s/secret", dir);
    snprintf(fresh, sizeof fresh, "%s/fresh", dir);
    fd = open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
    if (fd < 0)
        abort();
}
