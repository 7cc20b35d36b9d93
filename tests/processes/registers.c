/* Lets a user-mode Linux set all registers of its processes.
 *
 * It has room for as much of the extended state as processors had without AMX, and the system takes
 * nothing but the whole of it (`xstateregs_set` in Linux): on a processor with AMX a guest would end
 * with "ptrace set fp regs failed". What it does not know of stays as it is. Preloaded by
 * tests/processes/cluster.sh.
 */

#define _GNU_SOURCE
#include <elf.h>
#include <errno.h>
#include <stdarg.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

#define WHOLE_MAX (1 << 16)

static long ask_system(long request, long process, void *address, void *data)
{
	return syscall(SYS_ptrace, request, process, address, data);
}

static long set_extended_state(long process, void *kind, struct iovec *part)
{
	/* The stacks of a guest's kernel are small, and it does one thing at a time. */
	static char state[WHOLE_MAX];
	struct iovec whole = { state, sizeof state };

	if (ask_system(PTRACE_GETREGSET, process, kind, &whole) < 0)
		return -1;
	if (part->iov_len >= whole.iov_len)
		return ask_system(PTRACE_SETREGSET, process, kind, part);
	memcpy(state, part->iov_base, part->iov_len);
	return ask_system(PTRACE_SETREGSET, process, kind, &whole);
}

long ptrace(enum __ptrace_request request, ...)
{
	va_list arguments;
	va_start(arguments, request);
	long process = va_arg(arguments, int);
	void *address = va_arg(arguments, void *);
	void *data = va_arg(arguments, void *);
	va_end(arguments);

	if (request == PTRACE_SETREGSET && (long)address == NT_X86_XSTATE)
		return set_extended_state(process, address, data);
	if (request != PTRACE_PEEKTEXT && request != PTRACE_PEEKDATA && request != PTRACE_PEEKUSER)
		return ask_system(request, process, address, data);
	/* The C library returns what the system would write. */
	long word;
	long result = ask_system(request, process, address, &word);
	if (result < 0)
		return result;
	errno = 0;
	return word;
}
