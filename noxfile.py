"""The test suite on every supported pair of Python and TensorFlow.

`nox` runs all pairs whose Python is installed and lists the others. `nox -s "tests(1.15)"` runs one pair.
Arguments after `--` go to pytest.
"""

import nox

nox.options.default_venv_backend = "venv"

#: For each pair: Python, the TensorFlow requirement for pip, and the name. setup.cfg sets all other requirements.
PAIRS = [
    nox.param("3.7", "tensorflow==1.15.5", id="1.15"),
    nox.param("3.11", "tensorflow==2.15.*", id="2.15"),
    nox.param("3.11", "tensorflow==2.16.*", id="2.16"),
    nox.param("3.11", "tensorflow==2.21.*", id="2.21"),
    nox.param("3.13", "tensorflow==2.21.*", id="2.21-python3.13"),
]


@nox.session
@nox.parametrize("python,tensorflow", PAIRS)
def tests(session, tensorflow):
    """Install the project with one TensorFlow and run the tests."""
    session.install("-e", ".[test]", tensorflow)
    session.run("python", "-m", "pytest", *session.posargs)
