# Copyright (c) Contributors to the tradeops.coinswitch project
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Links of the user and of root are followed, links of other users are not."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from ansible_collections.tradeops.coinswitch.plugins.plugin_utils._report import paths as _paths

OTHER_USER = 12345

# --- resolve ---


def test_own_links_are_followed_as_realpath_does(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "directory").symlink_to("real")
    (tmp_path / "real" / "file").symlink_to("../target")
    assert _paths.resolve(str(tmp_path / "directory" / "file")) == Path(os.path.realpath(tmp_path / "target"))
    assert _paths.resolve(str(tmp_path / "missing" / "file")) == Path(os.path.realpath(tmp_path / "missing" / "file"))


def test_home_directory_is_expanded(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    assert _paths.resolve("~/report.json") == Path(os.path.realpath(tmp_path)) / "report.json"


@pytest.mark.parametrize("is_directory", [True, False])
def test_link_of_another_user_is_not_followed(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, is_directory: bool
) -> None:
    link = tmp_path / "link"
    link.symlink_to("/etc")
    # Only root could give the link to another user. Seen by another user, it is the same.
    monkeypatch.setattr(os, "getuid", lambda: OTHER_USER)
    if os.lstat(link).st_uid == 0:
        os.chown(link, OTHER_USER + 1, -1, follow_symlinks=False)
    with pytest.raises(ValueError, match=r"link is a link that another user \(ID \d+\) owns"):
        _paths.resolve(str(link / "file" if is_directory else link))


@pytest.mark.parametrize("path", ["/dev/null", "pipe", "link to a pipe"])
def test_device_or_pipe_is_not_replaced_by_a_file(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, path: str) -> None:
    monkeypatch.chdir(tmp_path)
    os.mkfifo("pipe")
    os.symlink("pipe", "link to a pipe")
    with pytest.raises(ValueError, match="is not written, because it is a device, a named pipe or a socket"):
        _paths.resolve(path)
