"""What a child process is kept from, by the kernel and without being root.

Each wall stands where the kernel has it, and the others stand without it: limits on all of POSIX, the rest on Linux.
None can be taken down again by what runs behind it.
"""

from __future__ import annotations

import ctypes
import os
import platform
import resource
import signal
import sys
import sysconfig
from collections.abc import Iterable
from typing import Final

__all__ = ["confine", "detach", "limit"]

_NEW_USER, _NEW_NETWORK = 0x10000000, 0x40000000
_SET_DUMPABLE, _SET_SECCOMP, _NO_NEW_PRIVILEGES, _FILTER = 4, 22, 38, 2
_LANDLOCK_CREATE, _LANDLOCK_ADD, _LANDLOCK_RESTRICT = 444, 445, 446
#: Landlock's rights: to execute a file, to read one, to list a directory; and all that its first version knows.
_EXECUTE, _READ, _LIST, _ALL_OF_FILES = 1, 4, 8, (1 << 13) - 1
_REFUSE, _ALLOW, _EPERM = 0x00050000, 0x7FFF0000, 1
_LOAD, _EQUAL, _AT_LEAST, _RETURN = 0x20, 0x15, 0x35, 0x06
#: The kernel's numbers of what an engine never does, by the machine: talk to others, start programs, look into other
#: processes, change the system.
_ARCHITECTURES: Final = {"x86_64": 0xC000003E, "aarch64": 0xC00000B7}
_FORBIDDEN: Final = {
    "accept": (43, 202),
    "accept4": (288, 242),
    "add_key": (248, 217),
    "bind": (49, 200),
    "bpf": (321, 280),
    "chroot": (161, 51),
    "connect": (42, 203),
    "delete_module": (176, 106),
    "execve": (59, 221),
    "execveat": (322, 281),
    "finit_module": (313, 273),
    "fork": (57, None),
    "init_module": (175, 105),
    "io_uring_setup": (425, 425),
    "kexec_file_load": (320, 294),
    "kexec_load": (246, 104),
    "keyctl": (250, 219),
    "kill": (62, 129),
    "listen": (50, 201),
    "mount": (165, 40),
    "open_by_handle_at": (304, 265),
    "perf_event_open": (298, 241),
    "pidfd_getfd": (438, 438),
    "pidfd_open": (434, 434),
    "pidfd_send_signal": (424, 424),
    "pivot_root": (155, 41),
    "process_vm_readv": (310, 270),
    "process_vm_writev": (311, 271),
    "ptrace": (101, 117),
    "reboot": (169, 142),
    "request_key": (249, 218),
    "setns": (308, 268),
    "socket": (41, 198),
    "socketpair": (53, 199),
    "umount2": (166, 39),
    "unshare": (272, 97),
    "userfaultfd": (323, 282),
    "vfork": (58, None),
}


def detach() -> list[str]:
    """Give up what the process was born with: dumps, new privileges, the network.  While it has one thread only.

    :return: the names of the walls that stand
    """
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    built = ["limits"]
    if sys.platform != "linux":
        return built
    libc = ctypes.CDLL(None, use_errno=True)
    libc.prctl(_SET_DUMPABLE, 0, 0, 0, 0)
    if libc.prctl(_NO_NEW_PRIVILEGES, 1, 0, 0, 0) == 0:
        built.append("privileges")
    if libc.unshare(_NEW_USER | _NEW_NETWORK) == 0:
        built.append("network")
    return built


def confine(readable: Iterable[str]) -> list[str]:
    """From now on, write nothing, open nothing but libraries, and call nothing that an engine has no use for.

    :param readable: further files and directories that may be read
    :return: the names of the walls that stand
    """
    # writing fails then, and does not end the process
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))
    if sys.platform != "linux":
        return []
    libc = ctypes.CDLL(None, use_errno=True)
    built = []
    if _confine_to_files(libc, {*_libraries(), *readable}):
        built.append("files")
    if _confine_to_calls(libc):
        built.append("calls")
    return built


def limit(seconds: float, memory: int) -> None:
    """From now on, take so much and no more: CPU seconds, and bytes beyond what the process has already."""
    # by a timer, which counts fractions, and by a limit, which stays if the timer is taken away
    signal.setitimer(signal.ITIMER_PROF, seconds)
    usage = resource.getrusage(resource.RUSAGE_SELF)
    _set_soft(resource.RLIMIT_CPU, int(usage.ru_utime + usage.ru_stime + seconds) + 2)
    _set_soft(resource.RLIMIT_AS, _address_space() + memory)


def _set_soft(kind: int, value: int) -> None:
    hard = resource.getrlimit(kind)[1]
    resource.setrlimit(kind, (value if hard == resource.RLIM_INFINITY else min(value, hard), hard))


def _address_space() -> int:
    if not _STATM:
        return 0
    return int(os.pread(_STATM[0], 100, 0).split()[0]) * resource.getpagesize()


# opened before the walls are up, and read through them
try:
    _STATM = [os.open("/proc/self/statm", os.O_RDONLY)]
except OSError:
    _STATM = []


def _libraries() -> set[str]:
    """Where Python, what is imported, and the shared libraries of both are."""
    paths = sysconfig.get_paths()
    found = {paths["stdlib"], paths["platstdlib"], "/usr/lib", "/usr/lib64", "/lib", "/lib64", "/usr/local/lib"}
    found |= {"/etc/ld.so.cache", "/dev/null", "/dev/urandom"}
    files = [getattr(module, "__file__", None) for module in list(sys.modules.values())]
    with open("/proc/self/maps") as maps:
        files += [line.split(None, 5)[5].strip() for line in maps if ".so" in line]
    found |= {os.path.dirname(file) for file in files if file}
    return {path for path in found if path.startswith("/") and path != "/"}


def _confine_to_files(libc: ctypes.CDLL, readable: set[str]) -> bool:
    version = libc.syscall(_LANDLOCK_CREATE, None, ctypes.c_size_t(0), 1)
    if version < 1:
        return False
    # whatever the version, nothing but reading is wanted: linking and cutting off files are rights of later ones
    handled = ctypes.c_uint64(_ALL_OF_FILES | (1 << 13 if version >= 2 else 0) | (1 << 14 if version >= 3 else 0))
    ruleset = libc.syscall(_LANDLOCK_CREATE, ctypes.byref(handled), ctypes.c_size_t(8), 0)
    if ruleset < 0:
        return False
    try:
        for path in readable:
            _allow_reading(libc, ruleset, path)
        return bool(libc.syscall(_LANDLOCK_RESTRICT, ruleset, 0) == 0)
    finally:
        os.close(ruleset)


def _allow_reading(libc: ctypes.CDLL, ruleset: int, path: str) -> None:
    try:
        descriptor = os.open(path, os.O_PATH | os.O_CLOEXEC)
    except OSError:
        return
    try:
        rights = _READ | _LIST if os.path.isdir(path) else _READ
        rule = ctypes.create_string_buffer(
            rights.to_bytes(8, sys.byteorder) + descriptor.to_bytes(4, sys.byteorder), 12
        )
        libc.syscall(_LANDLOCK_ADD, ruleset, 1, rule, 0)
    finally:
        os.close(descriptor)


class _Instruction(ctypes.Structure):
    _fields_ = (("code", ctypes.c_uint16), ("yes", ctypes.c_uint8), ("no", ctypes.c_uint8), ("value", ctypes.c_uint32))


class _Program(ctypes.Structure):
    _fields_ = (("length", ctypes.c_uint16), ("instructions", ctypes.POINTER(_Instruction)))


def _confine_to_calls(libc: ctypes.CDLL) -> bool:
    machine = platform.machine()
    if machine not in _ARCHITECTURES or ctypes.sizeof(ctypes.c_void_p) != 8:
        return False
    architecture = _ARCHITECTURES[machine]
    numbers = [number for pair in _FORBIDDEN.values() if (number := pair[machine == "aarch64"]) is not None]
    rules = [(_LOAD, 0, 0, 4), (_EQUAL, 1, 0, architecture), (_RETURN, 0, 0, _REFUSE | _EPERM), (_LOAD, 0, 0, 0)]
    # the numbers of a second table for 32-bit pointers
    rules += [(_AT_LEAST, 0, 1, 0x40000000), (_RETURN, 0, 0, _REFUSE | _EPERM)]
    for number in numbers:
        rules += [(_EQUAL, 0, 1, number), (_RETURN, 0, 0, _REFUSE | _EPERM)]
    rules.append((_RETURN, 0, 0, _ALLOW))
    instructions = (_Instruction * len(rules))(*(_Instruction(*rule) for rule in rules))
    program = _Program(len(rules), instructions)
    return bool(libc.prctl(_SET_SECCOMP, _FILTER, ctypes.byref(program), 0, 0) == 0)
