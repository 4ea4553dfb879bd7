# Copyright (c) Contributors to the tradeops.coinswitch project
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Protects the results of the filters from evaluation.

A result contains text that somebody else wrote, for example the name of a host. From ansible-core 2.19 on, Ansible
evaluates only the templates of playbooks. Older versions evaluate any text that is not marked as unsafe.

Private to this collection: anything here may change in any release.
"""

from __future__ import annotations

import functools
from typing import Any, Callable

from ansible import template


def protect(compute: Callable[..., Any]) -> Callable[..., Any]:
    """Return a filter that returns what `compute` returns, protected from evaluation."""

    # The versions of ansible-core that evaluate only what is trusted have this function.
    if hasattr(template, "trust_as_template"):
        return compute
    # Newer versions will deprecate this import.
    from ansible.utils.unsafe_proxy import wrap_var

    @functools.wraps(compute)
    def compute_protected(*arguments: Any, **options: Any) -> Any:
        return wrap_var(compute(*arguments, **options))

    return compute_protected
