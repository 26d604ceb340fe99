"""Where Ray's sockets and its token go."""

import os
from pathlib import Path

import pytest

from sweep import ray_session, user_folder
from trainable.errors import ResourcesError


@pytest.fixture
def short(tmp_path, monkeypatch):
    """A short folder in place of the machine's own temporary folders."""
    import tempfile

    with tempfile.TemporaryDirectory(dir="/tmp") as folder:
        for module in (ray_session, user_folder):
            monkeypatch.setattr(module, "TEMPORARY_FOLDERS", (folder,))
        monkeypatch.setattr(user_folder.tempfile, "gettempdir", lambda: folder)
        yield folder


class TestTemporaryFolder:
    @pytest.fixture(autouse=True)
    def unset(self, monkeypatch):
        monkeypatch.delenv("RAY_TMPDIR", raising=False)
        monkeypatch.delenv("TMPDIR", raising=False)

    def test_rays_own_if_it_is_short(self, short, monkeypatch):
        assert ray_session.temporary_folder() is None
        monkeypatch.setenv("TMPDIR", short)
        assert ray_session.temporary_folder() is None

    @pytest.mark.parametrize("variable", ["TMPDIR", "RAY_TMPDIR"])
    def test_another_if_sockets_would_not_fit(self, short, tmp_path, monkeypatch, variable):
        (tmp_path / ("x" * 100)).mkdir()
        monkeypatch.setenv(variable, str(tmp_path / ("x" * 100)))
        for _ in range(2):  # the second time it is there already
            folder = ray_session.temporary_folder()
            assert folder == f"{short}/ray-{os.getuid()}/ray"
        assert os.stat(os.path.dirname(folder)).st_mode & 0o777 == 0o700

    def test_another_if_it_is_not_there(self, short, monkeypatch):
        monkeypatch.setenv("TMPDIR", "/no/such/folder")
        assert ray_session.temporary_folder().startswith(short)

    def test_the_limit_is_that_of_the_system(self, short, monkeypatch):
        """A socket can be bound at the longest path that fits, and at no longer one."""
        import socket

        room = ray_session.LONGEST_SOCKET - len(short) - 1
        for length, fits in ((room, True), (room + 1, False)):
            with socket.socket(socket.AF_UNIX) as made:
                if fits:
                    made.bind(f"{short}/{'s' * length}")
                else:
                    with pytest.raises(OSError, match="too long"):
                        made.bind(f"{short}/{'s' * length}")

    def test_one_sentence_if_there_is_none(self, tmp_path, monkeypatch):
        monkeypatch.setattr(ray_session, "TEMPORARY_FOLDERS", ("/no/such/folder",))
        monkeypatch.setenv("TMPDIR", str(tmp_path / ("x" * 100)))
        with pytest.raises(ResourcesError, match="Set RAY_TMPDIR to a short path"):
            ray_session.temporary_folder()


class TestToken:
    @pytest.fixture(autouse=True)
    def unset(self, monkeypatch):
        for name in ("RAY_AUTH_TOKEN", "RAY_AUTH_MODE"):
            monkeypatch.delenv(name, raising=False)
        monkeypatch.setenv("RAY_AUTH_TOKEN_PATH", "")  # put back at the end, whatever is set
        monkeypatch.delenv("RAY_AUTH_TOKEN_PATH")

    def test_is_left_to_a_home_that_takes_it(self, tmp_path, monkeypatch):
        monkeypatch.setenv("HOME", str(tmp_path))
        ray_session._provide_token()
        assert "RAY_AUTH_TOKEN_PATH" not in os.environ

    @pytest.mark.parametrize("home", ["read-only", "read-only/none"])
    def test_is_elsewhere_if_the_home_does_not(self, short, monkeypatch, tmp_path, home):
        monkeypatch.setenv("HOME", str(tmp_path / home))
        (tmp_path / "read-only").mkdir()
        writable = ray_session.is_writable  # root may write anywhere, so it is told otherwise
        monkeypatch.setattr(
            ray_session,
            "is_writable",
            lambda folder: "read-only" not in str(folder) and writable(folder),
        )
        ray_session._provide_token()
        path = os.environ.pop("RAY_AUTH_TOKEN_PATH")
        assert path == f"{short}/ray-{os.getuid()}/auth_token"
        assert os.stat(path).st_mode & 0o777 == 0o600
        token = Path(path).read_text()
        assert len(token) == 64
        ray_session._provide_token()  # another sweep at the same time has the same
        assert Path(path).read_text() == token

    def test_one_sentence_if_there_is_no_place(self, monkeypatch):
        monkeypatch.setattr(ray_session, "is_writable", lambda folder: False)
        monkeypatch.setattr(ray_session, "private_temporary_folder", lambda: None)
        monkeypatch.setenv("HOME", "/proc")
        with pytest.raises(ResourcesError, match="RAY_AUTH_TOKEN_PATH"):
            ray_session._provide_token()


class TestPrivateFolder:
    def test_of_somebody_else_is_not_used(self, tmp_path):
        (tmp_path / f"ray-{os.getuid()}").symlink_to(tmp_path)
        assert user_folder.private_folder(tmp_path) is None

    def test_open_to_others_is_not_used(self, tmp_path):
        folder = user_folder.private_folder(tmp_path)
        assert folder == tmp_path / f"ray-{os.getuid()}"
        folder.chmod(0o755)
        assert user_folder.private_folder(tmp_path) is None

    def test_is_the_home_of_those_without_one(self, short, monkeypatch):
        monkeypatch.setenv("HOME", "")  # put back at the end
        monkeypatch.delenv("HOME")

        def unknown():
            raise RuntimeError("Could not determine home directory.")

        monkeypatch.setattr(user_folder.Path, "home", unknown)
        user_folder.provide_home()
        assert os.environ["HOME"] == f"{short}/ray-{os.getuid()}"
