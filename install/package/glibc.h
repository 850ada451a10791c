/*
 * Asks the C library for symbols as it had them from its first release for the architecture on. Those below moved into
 * libc.so.6 in 2.32 and 2.34, with new versions and as they were. A program that is built with a newer C library then
 * runs with an older one, too. The compiler reads this before each file of C (build.sh); a test reads which versions the
 * program needs.
 */
#ifndef __ASSEMBLER__

#ifdef __x86_64__
#define FIRST "GLIBC_2.2.5"
#else
#define FIRST "GLIBC_2.17"
#endif
#define AS_FIRST(symbol) __asm__(".symver " #symbol ", " #symbol "@" FIRST)

AS_FIRST(dlclose);
AS_FIRST(dlerror);
AS_FIRST(dlopen);
AS_FIRST(dlsym);
AS_FIRST(pthread_attr_getstack);
AS_FIRST(pthread_attr_getstacksize);
AS_FIRST(pthread_create);
AS_FIRST(pthread_getattr_np);
AS_FIRST(pthread_key_create);
AS_FIRST(pthread_setspecific);
AS_FIRST(pthread_sigmask);

/* The object that calls main is compiled already: the linker has it call this (--wrap). */
AS_FIRST(__libc_start_main);
typedef void function(void);
typedef int main_function(int, char **, char **);
extern int __libc_start_main(main_function *, int, char **, function *, function *, function *, void *);
__attribute__((weak)) int __wrap___libc_start_main(main_function *main, int argc, char **argv, function *init, function *fini, function *rtld_fini, void *stack)
{
	return __libc_start_main(main, argc, argv, init, fini, rtld_fini, stack);
}

#endif
