"""A file system for a test alone, in a mount namespace of its own."""
import contextlib
import os
import subprocess
import sys
import tempfile

INSIDE = "COVIM_TEST_MOUNTS"


def skip(why):
    print(f"SKIP: {why}")
    sys.exit(77)


def enter():
    """Begin again where something can be mounted."""
    if os.environ.get(INSIDE):
        return
    if os.geteuid() != 0:
        skip("mounting needs root")
    os.execvpe("unshare", ["unshare", "-m", "--propagation", "private",
                           sys.executable, os.path.abspath(sys.argv[0])],
               dict(os.environ, **{INSIDE: "1"}))


@contextlib.contextmanager
def mounted(*arguments):
    """A folder with what `mount` makes of these arguments."""
    home = tempfile.mkdtemp(prefix="covim-mount-")
    try:
        try:
            subprocess.run(["mount", *arguments, home], check=True)
        except (OSError, subprocess.CalledProcessError) as e:
            skip(f"this cannot be mounted here: {e}")
        try:
            os.chmod(home, 0o700)
            yield home
        finally:
            subprocess.run(["umount", "-l", home], check=False)
    finally:
        os.rmdir(home)
