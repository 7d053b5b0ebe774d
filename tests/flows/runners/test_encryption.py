"""Who cannot read a sweep's key cannot talk to its scheduler."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest
from distributed import Client, Scheduler, Security, SpecCluster

from sweepflow.errors import StoreError
from sweepflow.flows.runners.encryption import TLS, encrypted, worker_arguments


def test_only_the_user_can_read_the_key_and_it_is_gone_at_the_end(tmp_path: Path) -> None:
    file = tmp_path / "a store" / "key.pem"
    with encrypted(file):
        assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert not file.exists()


def test_a_key_that_a_killed_driver_left_is_not_used_again(tmp_path: Path) -> None:
    file = tmp_path / "key.pem"
    file.write_text("old")
    file.chmod(0o644)
    with encrypted(file):
        assert "old" not in file.read_text()
        assert stat.S_IMODE(file.stat().st_mode) == 0o600


def test_a_place_where_nobody_can_write_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StoreError, match="cannot be written"), encrypted(tmp_path / "file" / "key.pem"):
        pass


def test_a_stranger_is_turned_away(tmp_path: Path) -> None:
    with encrypted(tmp_path / "key.pem") as ours, encrypted(tmp_path / "other.pem") as theirs:
        options = {"dashboard": False, "dashboard_address": "127.0.0.1:0", "port": 0, "host": "127.0.0.1"}
        options |= {"security": ours, "protocol": "tls"}
        with SpecCluster(scheduler={"cls": Scheduler, "options": options}, security=ours) as cluster:
            with Client(cluster, set_as_default=False) as known:
                assert known.scheduler_info()["workers"] == {}
            for stranger in (theirs, Security.temporary()):
                with pytest.raises(OSError, match=r"Timed out|certificate"):
                    Client(cluster.scheduler_address, security=stranger, timeout=2, set_as_default=False)


def test_workers_find_the_key_by_their_environment() -> None:
    assert worker_arguments({}) == []
    assert worker_arguments({TLS: "/a b/k.pem"})[1::2] == ["/a b/k.pem"] * 3
