# Copyright (c) Contributors to the tradeops.coinswitch project
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Find where a file of the role is written, without following a link of another user."""

from __future__ import annotations

import os
import stat
from pathlib import Path

# As many links as Linux follows in one path.
MAX_LINKS = 40


def resolve(text: str) -> Path:
    """Return the absolute path without links. A relative path starts in the working directory.

    A link of another user in a directory that both can write to would make the role replace a file of its own user.
    Links of root are part of the system. A device, such as /dev/null, would be replaced by a file.

    Raises:
        ValueError: The path leads through a link that neither the user nor root owns, or through too many links, or to
            something that is neither a file nor a directory.
    """
    path = Path(os.path.abspath(os.path.expanduser(text)))
    for _turn in range(MAX_LINKS):
        link = _find_link(path)
        if link is None:
            return _check_type(path)
        owner = link.lstat().st_uid
        if owner not in (0, os.getuid()):
            raise ValueError(
                f"{path} is not written, because {link} is a link that another user (ID {owner}) owns. Use a directory "
                "that only you can write to."
            )
        path = Path(os.path.abspath(link.parent / os.readlink(link) / path.relative_to(link)))
    raise ValueError(f"{path} is not written, because it leads through too many links. Remove the links.")


def _check_type(path: Path) -> Path:
    """Return the path. Raise ValueError if a device, a named pipe or a socket is there."""
    try:
        mode = path.lstat().st_mode
    except OSError:
        return path
    if not stat.S_ISREG(mode) and not stat.S_ISDIR(mode):
        raise ValueError(
            f"{path} is not written, because it is a device, a named pipe or a socket. Use the path of a file, or "
            "leave the variable empty to write no file."
        )
    return path


def _find_link(path: Path) -> Path | None:
    """Return the first part of a path that is a link. None if there is none."""
    return next((part for part in [*reversed(path.parents), path] if os.path.islink(part)), None)
