"""The test suite on every supported pair of Python and TensorFlow.

`nox` runs them all with the interpreters that are there and names those that are not; `nox -s "tests(1.15)"` runs one.
Words after `--` go to pytest.
"""

import nox

nox.options.default_venv_backend = "venv"

#: TensorFlow, the Python it is tested on, and what pip is asked for; the rest is setup.cfg's matter.
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
    """Install the project beside one TensorFlow and run its tests."""
    session.install("-e", ".[test]", tensorflow)
    session.run("python", "-m", "pytest", *session.posargs)
