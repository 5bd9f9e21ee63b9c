/* Counts its own starts in memory that outlives the kernel.
 *
 *     cc -o counter counter.c -lpkram
 *
 * An argument is the socket of another pkramd than the machine's. */
#define _GNU_SOURCE
#include <errno.h>
#include <pkram.h>
#include <stdio.h>
#include <sys/mman.h>
#include <unistd.h>

int main(int argc, char *argv[])
{
        if (argc > 1)
                pkram_use_socket(argv[1]);

        int fd;
        int r = pkram_take("counter", &fd);
        if (r == -ENOENT && *pkram_error() == '\0') {
                fd = memfd_create("counter", MFD_CLOEXEC);
                if (fd < 0 || ftruncate(fd, sysconf(_SC_PAGESIZE)) < 0) {
                        perror("counter");
                        return 1;
                }
                r = pkram_put("counter", fd);
        }
        if (r < 0) {
                fprintf(stderr, "counter: %s\n", pkram_error());
                return 1;
        }

        unsigned *starts = mmap(NULL, sizeof *starts, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
        if (starts == MAP_FAILED) {
                perror("counter");
                return 1;
        }
        printf("started %u times before\n", (*starts)++);
        return 0;
}
