"""Whose account the process runs under, as far as a warning needs it."""

from __future__ import annotations

import ctypes
import os
import sys


def runtime_warnings() -> tuple[str, ...]:
    """Return a sentence where the account of this process has more rights than the agent needs."""
    if _is_root():
        return ("running as root: an account of its own that may use the folders is enough, and safer",)
    if _is_local_system():
        return ("running as LocalSystem: a service account that may use the folders is enough, and safer",)
    return ()


if sys.platform == "win32":
    _TOKEN_QUERY = 0x0008
    _TOKEN_USER = 1
    _LOCAL_SYSTEM = 22  # WinLocalSystemSid of WELL_KNOWN_SID_TYPE
    _LARGEST_TOKEN_USER = 256  # a pointer, attributes and a SID of at most 68 bytes

    def _is_root() -> bool:
        return False

    def _is_local_system() -> bool:
        """Ask the process token: user names are translated and can be changed, the SID is not."""
        kernel = ctypes.WinDLL("kernel32", use_last_error=True)
        security = ctypes.WinDLL("advapi32", use_last_error=True)
        kernel.GetCurrentProcess.restype = ctypes.c_void_p
        kernel.CloseHandle.argtypes = (ctypes.c_void_p,)
        security.OpenProcessToken.argtypes = (ctypes.c_void_p, ctypes.c_ulong, ctypes.POINTER(ctypes.c_void_p))
        security.GetTokenInformation.argtypes = (
            ctypes.c_void_p,
            ctypes.c_int,
            ctypes.c_void_p,
            ctypes.c_ulong,
            ctypes.POINTER(ctypes.c_ulong),
        )
        security.IsWellKnownSid.argtypes = (ctypes.c_void_p, ctypes.c_int)
        token = ctypes.c_void_p()
        if not security.OpenProcessToken(kernel.GetCurrentProcess(), _TOKEN_QUERY, ctypes.byref(token)):
            return False
        try:
            # TOKEN_USER begins with the pointer to the SID, which lies in the same buffer.
            buffer = (ctypes.c_void_p * (_LARGEST_TOKEN_USER // ctypes.sizeof(ctypes.c_void_p)))()
            size = ctypes.c_ulong()
            if not security.GetTokenInformation(token, _TOKEN_USER, buffer, ctypes.sizeof(buffer), ctypes.byref(size)):
                return False
            return bool(security.IsWellKnownSid(buffer[0], _LOCAL_SYSTEM))
        finally:
            kernel.CloseHandle(token)

else:

    def _is_root() -> bool:
        return os.geteuid() == 0

    def _is_local_system() -> bool:
        return False
