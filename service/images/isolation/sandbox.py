"""Closing a process that is about to read hostile files: no file, no socket, no other process, no new program.

Landlock and seccomp are Linux's own, and are called by their system calls' numbers: there is no library of them that is
released and needs nothing else installed. Each is left out where the kernel has none of it.
"""

import ctypes
import errno
import os
import platform
import resource
import struct
from collections.abc import Iterator

_PR_SET_DUMPABLE, _PR_SET_NO_NEW_PRIVS = 4, 38

# landlock(7)
_CREATE_RULESET, _RESTRICT_SELF = 444, 446
_VERSION = 1
# All that can be done with files, by the version from which on Landlock knows it.
_FILE_RIGHTS = {1: 0x1FFF, 2: 0x3FFF, 3: 0x7FFF, 5: 0xFFFF}
_NET_FROM, _SCOPES_FROM = 4, 6
_TCP, _SOCKETS_AND_SIGNALS = 0b11, 0b11

# seccomp(2), and what it takes: classic BPF over nr, arch, instruction pointer and six arguments of 64 bits
_SET_MODE_FILTER, _TO_ALL_THREADS = 1, 1
_KILL, _ALLOW = 0x8000_0000, 0x7FFF_0000
_FAIL, _UNKNOWN = 0x0005_0000 | errno.EPERM, 0x0005_0000 | errno.ENOSYS
_LOAD, _EQUALS, _ANY_OF, _RETURN = 0x20, 0x15, 0x45, 0x06
_NUMBER, _ARCH, _ARGUMENTS = 0, 4, 16
_NEW_LIMITS = _ARGUMENTS + 8 * 2
_PROT_EXEC, _FIONBIO, _CLONE_THREAD = 4, 0x5421, 0x1_0000

# Each with its number in audit(7), that of seccomp(2), and the column below.
_MACHINES = {"x86_64": (0xC000_003E, 317, 0), "aarch64": (0xC000_00B7, 277, 1)}
_HARMLESS = """
    read 0 63, write 1 64, fstat 5 80, poll 7 -, lseek 8 62, munmap 11 215, brk 12 214, rt_sigaction 13 134,
    rt_sigprocmask 14 135, rt_sigreturn 15 139, sched_yield 24 124, mremap 25 216, madvise 28 233, nanosleep 35 101,
    getpid 39 172, sendto 44 206, recvfrom 45 207, exit 60 93, gettimeofday 96 169, getrusage 98 165, sysinfo 99 179,
    sigaltstack 131 132, gettid 186 178, futex 202 98, sched_getaffinity 204 123, restart_syscall 219 128,
    clock_gettime 228 113, clock_getres 229 114, clock_nanosleep 230 115, exit_group 231 94, ppoll 271 73,
    set_robust_list 273 99, getcpu 309 168, getrandom 318 278, membarrier 324 283, rseq 334 293
"""
"""System calls that reach nothing but this process's memory, its clock and what it has open already.

Each with its number on x86-64 and on aarch64, which has not all of them.
"""

_CLONE, _CLONE3 = (56, 220), 435
_CLOSE, _MMAP, _MPROTECT, _IOCTL, _PRLIMIT = (3, 57), (9, 222), (10, 226), (16, 29), (302, 261)

_LIMITS = {
    resource.RLIMIT_FSIZE: 0,
    resource.RLIMIT_CORE: 0,
    resource.RLIMIT_NOFILE: 3,  # the standard ones, and those above that are open already
}

_LIBC = ctypes.CDLL(None, use_errno=True)


def close_process() -> list[str]:
    """Close this process for good, and return what the system has not got: "landlock", "seccomp", or nothing.

    What is imported, loaded or opened later fails. What is open already can be used, but for standard input, which not
    even closes: there, a process that ends with its parent is signalled that end. Threads can be started.
    """
    missing = []
    if not _prctl(_PR_SET_NO_NEW_PRIVS, 1):
        missing.append("no_new_privs")
    if not _close_files():
        missing.append("landlock")
    for limit, most in _LIMITS.items():
        resource.setrlimit(limit, (most, most))
    if not _close_system_calls():
        missing.append("seccomp")
        resource.setrlimit(resource.RLIMIT_NPROC, (0, 0))  # no threads either, which some decoders cannot do without
    return missing


def hide_process() -> None:
    """Keep other processes of the same user from this one's environment, memory and descriptors; from debuggers too."""
    _prctl(_PR_SET_DUMPABLE, 0)


def _prctl(option: int, value: int) -> bool:
    try:
        return bool(_LIBC.prctl(option, ctypes.c_ulong(value), 0, 0, 0) == 0)
    except AttributeError:  # this system is not Linux
        return False


def _system_call(number: int, *arguments: object) -> int:
    return int(_LIBC.syscall(ctypes.c_long(number), *arguments))


def _close_files() -> bool:
    version = _system_call(_CREATE_RULESET, None, ctypes.c_size_t(0), ctypes.c_uint(_VERSION))
    if version < 1:
        return False
    rights = next(_FILE_RIGHTS[since] for since in sorted(_FILE_RIGHTS, reverse=True) if since <= version)
    handled = struct.pack("=Q", rights)
    if version >= _NET_FROM:
        handled += struct.pack("=Q", _TCP)
    if version >= _SCOPES_FROM:
        handled += struct.pack("=Q", _SOCKETS_AND_SIGNALS)
    ruleset = _system_call(_CREATE_RULESET, handled, ctypes.c_size_t(len(handled)), ctypes.c_uint(0))
    if ruleset < 0:
        return False
    try:
        return _system_call(_RESTRICT_SELF, ctypes.c_int(ruleset), ctypes.c_uint(0)) == 0
    finally:
        os.close(ruleset)


def _close_system_calls() -> bool:
    machine = _MACHINES.get(platform.machine())
    if machine is None or struct.calcsize("P") != 8:
        return False
    arch, seccomp, column = machine
    program = b"".join(_filter(arch, column))
    instructions = ctypes.create_string_buffer(program, len(program))
    described = struct.pack("@HP", len(program) // 8, ctypes.addressof(instructions))
    return _system_call(seccomp, ctypes.c_uint(_SET_MODE_FILTER), ctypes.c_uint(_TO_ALL_THREADS), described) == 0


def _filter(arch: int, column: int) -> Iterator[bytes]:
    """Yield the instructions: what is named goes through, all else fails, x86-64's x32 numbers among it."""
    yield _instruction(_LOAD, _ARCH)
    yield _instruction(_EQUALS, arch, 1, 0)
    yield _instruction(_RETURN, _KILL)
    yield _instruction(_LOAD, _NUMBER)
    for call in _HARMLESS.split(","):
        number = call.split()[1 + column]
        if number != "-":
            yield _instruction(_EQUALS, int(number), 0, 1)
            yield _instruction(_RETURN, _ALLOW)
    # No code but what is mapped already; non-blocking or not; standard input stays open; limits are read and not set.
    # Threads, and no processes; clone3 keeps its flags where a filter cannot read them, and glibc then takes clone.
    yield from _where(_CLONE[column], 0, _ANY_OF, _CLONE_THREAD, then=_ALLOW, otherwise=_FAIL)
    yield _instruction(_EQUALS, _CLONE3, 0, 1)
    yield _instruction(_RETURN, _UNKNOWN)
    yield from _where(_MMAP[column], 2, _ANY_OF, _PROT_EXEC, then=_FAIL, otherwise=_ALLOW)
    yield from _where(_MPROTECT[column], 2, _ANY_OF, _PROT_EXEC, then=_FAIL, otherwise=_ALLOW)
    yield from _where(_IOCTL[column], 1, _EQUALS, _FIONBIO, then=_ALLOW, otherwise=_FAIL)
    yield from _where(_CLOSE[column], 0, _EQUALS, 0, then=_FAIL, otherwise=_ALLOW)
    yield _instruction(_EQUALS, _PRLIMIT[column], 0, 6)
    yield _instruction(_LOAD, _NEW_LIMITS)
    yield _instruction(_EQUALS, 0, 0, 3)
    yield _instruction(_LOAD, _NEW_LIMITS + 4)
    yield _instruction(_EQUALS, 0, 0, 1)
    yield _instruction(_RETURN, _ALLOW)
    yield _instruction(_RETURN, _FAIL)
    yield _instruction(_RETURN, _FAIL)


def _where(number: int, argument: int, test: int, value: int, *, then: int, otherwise: int) -> Iterator[bytes]:
    """Yield what decides on a system call by the lower half of one of its arguments."""
    yield _instruction(_EQUALS, number, 0, 4)
    yield _instruction(_LOAD, _ARGUMENTS + 8 * argument)
    yield _instruction(test, value, 0, 1)
    yield _instruction(_RETURN, then)
    yield _instruction(_RETURN, otherwise)


def _instruction(code: int, operand: int, if_true: int = 0, if_false: int = 0) -> bytes:
    return struct.pack("=HBBI", code, if_true, if_false, operand)
