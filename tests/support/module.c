/* A PKCS#11 module that hands everything on to SoftHSM, but for the fault that the file `fault` in the directory $TEST_MODULE
   names: "hang STEP", "crash STEP", "lie", "noise", "slow", "refuse", "locked", "gone", "exit". Each login adds a byte to the
   file `logins` there. PKCS#11 2.40's functions are told apart by their places in its table. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { INITIALIZE = 0, GET_SLOT_LIST = 4, LOGIN = 18, FIND_OBJECTS_INIT = 26, SIGN = 43, FUNCTIONS = 68 };
enum { PIN_INCORRECT = 0xa0, PIN_LOCKED = 0xa4, DEVICE_REMOVED = 0x32 };

typedef unsigned long word;

static struct list { unsigned char version[2]; void *functions[FUNCTIONS]; } ours, *theirs;

static int has(const char *fault)
{
    char path[4096], found[64] = "";
    snprintf(path, sizeof path, "%s/fault", getenv("TEST_MODULE"));
    FILE *file = fopen(path, "r");
    if (file) {
        if (!fgets(found, sizeof found, file))
            found[0] = 0;
        fclose(file);
    }
    return strcmp(found, fault) == 0;
}

static void at(const char *step)
{
    char fault[64];
    snprintf(fault, sizeof fault, "hang %s", step);
    if (has(fault))
        for (;;)
            pause();
    snprintf(fault, sizeof fault, "crash %s", step);
    if (has(fault)) {
        fprintf(stderr, "module: about to crash\n");
        *(volatile int *)8 = 0;
    }
    if (has("noise")) {
        printf("on standard output of %s\n", step);
        fflush(stdout);
        fprintf(stderr, "module: %s\n", step);
    }
}

static word initialize(void *arguments)
{
    at("initialize");
    if (has("exit"))
        exit(0);
    return ((word (*)(void *))theirs->functions[INITIALIZE])(arguments);
}

static word get_slot_list(unsigned char present, word *slots, word *count)
{
    at("slots");
    return ((word (*)(unsigned char, word *, word *))theirs->functions[GET_SLOT_LIST])(present, slots, count);
}

static word login(word session, word user, unsigned char *pin, word length)
{
    char path[4096];
    snprintf(path, sizeof path, "%s/logins", getenv("TEST_MODULE"));
    FILE *file = fopen(path, "a");
    fputc('.', file);
    fclose(file);
    at("login");
    if (has("noise"))
        fprintf(stderr, "module: the PIN is %.*s\n", (int)length, pin);
    if (has("refuse"))
        return PIN_INCORRECT;
    if (has("locked"))
        return PIN_LOCKED;
    return ((word (*)(word, word, unsigned char *, word))theirs->functions[LOGIN])(session, user, pin, length);
}

static word find_objects_init(word session, void *template, word count)
{
    at("find");
    return ((word (*)(word, void *, word))theirs->functions[FIND_OBJECTS_INIT])(session, template, count);
}

static word sign(word session, unsigned char *data, word length, unsigned char *signature, word *signature_length)
{
    at("sign");
    if (has("gone"))
        return DEVICE_REMOVED;
    /* The first call only asks how long it will be. */
    if (has("slow") && signature)
        sleep(3);
    if (has("noise") && signature)
        return 5;
    word result = ((word (*)(word, unsigned char *, word, unsigned char *, word *))theirs->functions[SIGN])(
        session, data, length, signature, signature_length);
    if (has("lie") && signature)
        signature[*signature_length - 1] ^= 1;
    return result;
}

word C_GetFunctionList(struct list **list)
{
    void *softhsm = dlopen("/usr/lib/softhsm/libsofthsm2.so", RTLD_NOW);
    if (!softhsm)
        return 6;
    ((word (*)(struct list **))dlsym(softhsm, "C_GetFunctionList"))(&theirs);
    ours = *theirs;
    ours.functions[INITIALIZE] = initialize;
    ours.functions[GET_SLOT_LIST] = get_slot_list;
    ours.functions[LOGIN] = login;
    ours.functions[FIND_OBJECTS_INIT] = find_objects_init;
    ours.functions[SIGN] = sign;
    *list = &ours;
    return 0;
}
