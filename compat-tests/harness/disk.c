/* Laid under a node's process: its fsyncs do what the file named by DYNAMIS_TEST_DISK says: "fail", "slow <ms>", or
   anything else for nothing. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

static int ordered(void) {
    const char *path = getenv("DYNAMIS_TEST_DISK");
    FILE *orders = path ? fopen(path, "r") : NULL;
    char line[64] = "";
    if (orders) {
        if (!fgets(line, sizeof line, orders)) line[0] = 0;
        fclose(orders);
    }
    if (strncmp(line, "fail", 4) == 0) {
        errno = EIO;
        return -1;
    }
    long ms = 0;
    if (sscanf(line, "slow %ld", &ms) == 1 && ms > 0) {
        struct timespec pause = {ms / 1000, ms % 1000 * 1000000};
        nanosleep(&pause, NULL);
    }
    return 0;
}

int fsync(int file) {
    int (*real)(int) = (int (*)(int))dlsym(RTLD_NEXT, "fsync");
    return ordered() ? -1 : real(file);
}

int fdatasync(int file) {
    int (*real)(int) = (int (*)(int))dlsym(RTLD_NEXT, "fdatasync");
    return ordered() ? -1 : real(file);
}
