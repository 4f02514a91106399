/* Each case is a file of numbers whose last line is their sum. */
#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static int check(const char *path)
{
    FILE *file = fopen(path, "r");
    char line[64];
    long sum = 0, total = -1;

    if (!file)
        return 0;
    while (fgets(line, sizeof line, file)) {
        if (line[0] == '=')
            total = strtol(line + 1, NULL, 10);
        else
            sum += strtol(line, NULL, 10);
    }
    fclose(file);
    return sum == total;
}

int main(int argc, char **argv)
{
    DIR *dir = argc == 2 ? opendir(argv[1]) : NULL;
    struct dirent *entry;
    char path[4096];
    int good = 0, bad = 0;

    if (!dir) {
        fprintf(stderr, "usage: sums DIRECTORY\n");
        return 99;
    }
    while ((entry = readdir(dir))) {
        if (!strstr(entry->d_name, ".case"))
            continue;
        snprintf(path, sizeof path, "%s/%s", argv[1], entry->d_name);
        if (check(path)) {
            good++;
        } else {
            bad++;
            printf("%s: the sum is another\n", entry->d_name);
        }
    }
    closedir(dir);
    printf("%d cases hold, %d do not\n", good, bad);
    return bad || !good;
}
