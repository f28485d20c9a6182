from enum import StrEnum


class Layer(StrEnum):
    IPC_NAMESPACE = "ipc_namespace"
    LANDLOCK = "landlock"
    LIMITS = "limits"
    MOUNT_NAMESPACE = "mount_namespace"
    NETWORK_NAMESPACE = "network_namespace"
    NO_NEW_PRIVS = "no_new_privs"
    OTHER_USER = "other_user"
    PID_NAMESPACE = "pid_namespace"
    SECCOMP = "seccomp"
    USER_NAMESPACE = "user_namespace"

    def __str__(self) -> str:
        return str(self.value)
