import sys

import pytest

from bayespeft.data.packages import package_folder
from bayespeft.errors import MissingPackageError


def test_the_package_is_found_but_not_imported(tmp_path, monkeypatch):
    package = tmp_path / "never_imported"
    package.mkdir()
    (package / "__init__.py").write_text("raise RuntimeError('imported')")
    monkeypatch.syspath_prepend(tmp_path)
    assert package_folder("never_imported", "pip install it", "the data") == package
    assert "never_imported" not in sys.modules


@pytest.mark.parametrize("module", ["no_such_package", "no_such_package.inside", "json.no_such_module"])
def test_a_missing_package_is_an_error_with_the_command(module):
    with pytest.raises(
        MissingPackageError, match=rf"the data comes with the package '{module}'.*not installed: pip install it"
    ):
        package_folder(module, "pip install it", "the data")
