# SPDX-License-Identifier: Apache-2.0
"""deltalake leaves what it writes to the operating system. Measured against writers that wait for the disk, its users have to wait too."""
import os


def _sync(path, flags):
    file = os.open(path, flags)
    os.fsync(file)
    os.close(file)


class Durable:
    """Waits until everything that came into a table's folder since the last call is on the disk."""

    def __init__(self, table):
        self.folders = [table, f"{table}/_delta_log"]
        self.seen = {path for folder in self.folders if os.path.isdir(folder) for path in self._files(folder)}

    @staticmethod
    def _files(folder):
        return [entry.path for entry in os.scandir(folder) if entry.is_file(follow_symlinks=False)]

    def sync(self):
        for folder in self.folders:
            new = [path for path in self._files(folder) if path not in self.seen]
            self.seen.update(new)
            for path in new:
                _sync(path, os.O_RDONLY)
            _sync(folder, os.O_RDONLY | os.O_DIRECTORY)
