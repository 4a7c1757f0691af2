"""From `alembic init` in an empty folder to a passing test on a clone, with the README alone."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]
SHOP = {
    "shop/__init__.py": "",
    "shop/database.py": """
from sqlalchemy import create_engine
from sqlalchemy.orm import DeclarativeBase, sessionmaker

engine = create_engine("sqlite:///shop.db")
SessionLocal = sessionmaker(engine)


class Base(DeclarativeBase): ...
""",
    "shop/models.py": """
from sqlalchemy import ForeignKey
from sqlalchemy.orm import Mapped, mapped_column

from shop.database import Base


class Customer(Base):
    __tablename__ = "customers"

    name: Mapped[str] = mapped_column(primary_key=True)


class Order(Base):
    __tablename__ = "orders"

    id: Mapped[int] = mapped_column(primary_key=True)
    customer: Mapped[str] = mapped_column(ForeignKey("customers.name"))
    article: Mapped[str]
""",
    "shop/orders.py": """
from shop.database import SessionLocal
from shop.models import Customer, Order


def place_order(customer: str, article: str) -> None:
    with SessionLocal.begin() as session:
        session.merge(Customer(name=customer))
        session.add(Order(customer=customer, article=article))
""",
}


def run(folder, *command):
    done = subprocess.run(
        [sys.executable, "-m", *command],
        cwd=folder,
        env={k: v for k, v in os.environ.items() if not k.startswith(("PYTEST_", "ALEMBIC_"))},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def block_after(text, language, heading=""):
    """The first fenced block of a language in the README, or in a section of it."""
    return re.search(rf"```{language}\n(.*?)```", text[text.index(heading) :], re.DOTALL)[1]


def test_six_steps_lead_to_a_passing_test_on_a_clone(tmp_path):
    readme = (ROOT / "README.md").read_text()
    for name, text in SHOP.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)

    # 1: Alembic is set up.
    run(tmp_path, "alembic", "init", "alembic")
    # 2: alembic.ini and env.py know the database and the models.
    ini, env = tmp_path / "alembic.ini", tmp_path / "alembic/env.py"
    url = re.sub("sqlalchemy.url = .*", "sqlalchemy.url = sqlite:///shop.db", ini.read_text())
    ini.write_text(url)
    models = "import shop.models\nfrom shop.database import Base\ntarget_metadata = Base.metadata"
    env.write_text(env.read_text().replace("target_metadata = None", models))
    # 3: The first revision is made.
    run(tmp_path, "alembic", "revision", "--autogenerate", "-m", "first")
    (tmp_path / "shop.db").unlink()
    # 4: The README's lines of configuration.
    table = block_after(readme, "toml", "## Four lines").replace('["src"]', '["."]')
    (tmp_path / "pyproject.toml").write_text(
        table + '\n[tool.pytest.ini_options]\npythonpath = ["."]\n'
    )
    # 5: The README's test.
    (tmp_path / "test_orders.py").write_text(block_after(readme, "python"))
    # 6: pytest.
    first = run(tmp_path, "pytest", "-p", "no:randomly", "-p", "no:cacheprovider")
    second = run(tmp_path, "pytest", "-p", "no:randomly", "-p", "no:cacheprovider")

    assert "2 passed" in first
    assert "2 passed" in second
    assert "reused" in second
    assert not (tmp_path / "shop.db").exists()
