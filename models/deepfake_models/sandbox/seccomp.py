"""A seccomp filter: the system calls that a confined process may make, as a BPF program.

The program is put together here, because libseccomp has no wheel. It runs on x86-64 and aarch64;
on other machines there is no filter. See seccomp(2) and the kernel's
Documentation/userspace-api/seccomp_filter.rst.
"""

from __future__ import annotations

import ctypes
import errno
import platform
import struct
import sys
from dataclasses import dataclass

PROT_EXEC = 4
CLONE_THREAD = 0x0001_0000

_AUDIT_ARCH = {"x86_64": 0xC000003E, "aarch64": 0xC00000B7}
_X32_BIT = 0x4000_0000
"""Set in the numbers of the x32 interface, which is a second way to every call on x86-64."""

_NUMBERS = {
    # The columns are x86_64 (asm/unistd_64.h) and aarch64 (asm-generic/unistd.h).
    "read": (0, 63),
    "write": (1, 64),
    "close": (3, 57),
    "lseek": (8, 62),
    "munmap": (11, 215),
    "mremap": (25, 216),
    "brk": (12, 214),
    "madvise": (28, 233),
    "futex": (202, 98),
    "sched_yield": (24, 124),
    "sched_getaffinity": (204, 123),
    "clock_gettime": (228, 113),
    "clock_getres": (229, 114),
    "clock_nanosleep": (230, 115),
    "nanosleep": (35, 101),
    "gettimeofday": (96, 169),
    "getrandom": (318, 278),
    "getpid": (39, 172),
    "gettid": (186, 178),
    "getrusage": (98, 165),
    "rt_sigaction": (13, 134),
    "rt_sigprocmask": (14, 135),
    "rt_sigreturn": (15, 139),
    "sigaltstack": (131, 132),
    "restart_syscall": (219, 128),
    "setitimer": (38, 103),
    "epoll_wait": (232, 22),  # epoll_pwait on aarch64
    "set_robust_list": (273, 99),
    "rseq": (334, 293),
    "exit": (60, 93),
    "exit_group": (231, 94),
}
"""Calls that are allowed with any arguments: on memory, time, signals of the process itself, and
the files that it has open, which are the socket to its parent and the null device."""

_MMAP, _MPROTECT, _PRLIMIT = (9, 222), (10, 226), (302, 261)
_CLONE, _CLONE3 = (56, 220), (435, 435)

# linux/bpf_common.h, linux/seccomp.h
_LOAD_WORD, _JUMP_EQUAL, _JUMP_GREATER_EQUAL, _JUMP_SET, _RETURN = 0x20, 0x15, 0x35, 0x45, 0x06
_ALLOW, _KILL_PROCESS = 0x7FFF_0000, 0x8000_0000
_REFUSE, _MISSING = 0x0005_0000 | errno.EPERM, 0x0005_0000 | errno.ENOSYS
# struct seccomp_data: int nr; __u32 arch; __u64 instruction_pointer; __u64 args[6]
_NUMBER, _ARCH, _FIRST_ARGUMENT, _ARGUMENT_BYTES = 0, 4, 16, 8


class _Program(ctypes.Structure):
    """``struct sock_fprog``."""

    _fields_ = (("length", ctypes.c_ushort), ("filter", ctypes.c_void_p))


@dataclass(frozen=True, slots=True)
class _Instruction:
    """``struct sock_filter``; the jumps skip so many of the instructions that follow."""

    code: int
    value: int
    if_true: int = 0
    if_false: int = 0

    def packed(self) -> bytes:
        return struct.pack("=HBBI", self.code, self.if_true, self.if_false, self.value)


def filter_program(machine: str | None = None) -> bytes | None:
    """Return the BPF program for ``machine``, by default this one; ``None`` if it is not known.

    Any other call than those listed fails with ``EPERM``. ``mmap`` and ``mprotect`` may not make
    memory executable, ``prlimit64`` may act on the calling process only, and ``clone`` may start
    threads but no processes: libwebp and libde265 need them. Threads inherit the filter. A call
    through another interface of the machine (32-bit, x32) kills the process.
    """
    machine = machine or platform.machine()
    if machine not in _AUDIT_ARCH or sys.byteorder != "little":
        return None
    column = list(_AUDIT_ARCH).index(machine)
    program = [
        _Instruction(_LOAD_WORD, _ARCH),
        _Instruction(_JUMP_EQUAL, _AUDIT_ARCH[machine], if_true=1),
        _Instruction(_RETURN, _KILL_PROCESS),
        _Instruction(_LOAD_WORD, _NUMBER),
    ]
    if machine == "x86_64":
        program += [
            _Instruction(_JUMP_GREATER_EQUAL, _X32_BIT, if_false=1),
            _Instruction(_RETURN, _KILL_PROCESS),
        ]
    for numbers in _NUMBERS.values():
        program += [
            _Instruction(_JUMP_EQUAL, numbers[column], if_false=1),
            _Instruction(_RETURN, _ALLOW),
        ]
    not_executable = _Instruction(_JUMP_SET, PROT_EXEC, if_true=1)
    program += _allowed_if(_MMAP[column], 2, not_executable)  # int prot
    program += _allowed_if(_MPROTECT[column], 2, not_executable)
    thread = _Instruction(_JUMP_SET, CLONE_THREAD, if_false=1)
    program += _allowed_if(_CLONE[column], 0, thread)  # unsigned long flags
    program += [
        # A filter cannot see the flags of clone3, and the C library then uses clone.
        _Instruction(_JUMP_EQUAL, _CLONE3[column], if_false=1),
        _Instruction(_RETURN, _MISSING),
    ]
    itself = _Instruction(_JUMP_EQUAL, 0, if_false=1)
    program += _allowed_if(_PRLIMIT[column], 0, itself)  # pid_t pid; 0 is the caller
    program.append(_Instruction(_RETURN, _REFUSE))
    return b"".join(instruction.packed() for instruction in program)


def _allowed_if(call: int, argument: int, test: _Instruction) -> list[_Instruction]:
    """Return the instructions that allow ``call`` if its argument passes ``test``, which skips one
    instruction if not, and refuse it otherwise."""
    return [
        _Instruction(_JUMP_EQUAL, call, if_false=4),
        _Instruction(_LOAD_WORD, _argument(argument)),
        test,
        _Instruction(_RETURN, _ALLOW),
        _Instruction(_RETURN, _REFUSE),
    ]


def _argument(number: int) -> int:
    """Return where the low half of an argument is in ``struct seccomp_data``."""
    return _FIRST_ARGUMENT + number * _ARGUMENT_BYTES


def install_filter(libc: ctypes.CDLL) -> bool:
    """Apply the filter to the calling thread, which must have set ``no_new_privs``. Return whether
    the kernel accepted it."""
    program = filter_program()
    if program is None:
        return False
    buffer = ctypes.create_string_buffer(program, len(program))
    header = _Program(len(program) // 8, ctypes.addressof(buffer))
    pr_set_seccomp, mode_filter = 22, 2
    return bool(libc.prctl(pr_set_seccomp, mode_filter, ctypes.byref(header), 0, 0) == 0)
