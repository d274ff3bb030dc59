"""Settings files for tests: the smallest valid file, and helpers to load one or list its
problems.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from hls_handler.errors import SettingsError
from hls_handler.settings.load import load_settings
from hls_handler.settings.model import Settings

TOKEN = "github-token-marker-1"
SECRET = "webhook-secret-marker-2"
API_KEY = "claude-key-marker-3"
VARIABLES = {"GITHUB_TOKEN": TOKEN, "GITHUB_WEBHOOK_SECRET": SECRET, "ANTHROPIC_API_KEY": API_KEY}

SMALLEST = """\
github:
  token: "${GITHUB_TOKEN}"
  webhook_secret: "${GITHUB_WEBHOOK_SECRET}"
claude:
  api_key: "${ANTHROPIC_API_KEY}"
repositories:
  - name: owner/repo
"""
"""Seven lines; lines that a test adds start at line 8."""

SAMPLE = """\
server:
  host: "0.0.0.0"
  port: 8000
  webhook_path: "/webhook"

github:
  token: "${GITHUB_TOKEN}"
  webhook_secret: "${GITHUB_WEBHOOK_SECRET}"

claude:
  api_key: "${ANTHROPIC_API_KEY}"
  model: "claude-3-5-sonnet-20241022"
  max_tokens: 4000

repositories:
  - name: "owner/repo"
    enabled: true
    events:
      - "issues"
      - "pull_request"
      - "pull_request_review"

features:
  signature_validation: true
  async_processing: true

logging:
  level: "INFO"
  format: "json"
"""
"""The sample settings of the original description, with a retired model."""

USERS_FILE = SAMPLE.replace("\n\n", "\n")


@cache
def app_key(kind: str = "rsa") -> str:
    """Return a new private key as PEM text: "rsa", "rsa 1024" or "ec"."""
    key = (
        ec.generate_private_key(ec.SECP256R1())
        if kind == "ec"
        else _rsa(1024 if kind == "rsa 1024" else 2048)
    )
    return key.private_bytes(
        Encoding.PEM, PrivateFormat.TraditionalOpenSSL, NoEncryption()
    ).decode()


def _rsa(bits: int) -> rsa.RSAPrivateKey:
    return rsa.generate_private_key(public_exponent=65537, key_size=bits)


def load(folder: Path, text: str, variables: Mapping[str, str] = VARIABLES) -> Settings:
    path = folder / "settings.yaml"
    path.write_text(text, encoding="utf-8")
    return load_settings(path, variables, dotenv=None, read_key=lambda _path: app_key().encode())


def problems(folder: Path, text: str, variables: Mapping[str, str] = VARIABLES) -> list[str]:
    """Problems of a file without its folder: "settings.yaml:8: server.prot: unknown key; ...";
    empty if it loads.
    """
    try:
        load(folder, text, variables)
    except SettingsError as error:
        return [problem.removeprefix(f"{folder}/") for problem in error.problems]
    return []
