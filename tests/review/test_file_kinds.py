"""Test files are known by the names that test runners give them."""

from __future__ import annotations

import pytest

from hls_handler.review.changed_files import is_test_file


@pytest.mark.parametrize(
    "path",
    [
        "tests/shop.py",
        "shop/test_tax.py",
        "shop/tax_test.py",
        "conftest.py",
        "src/tax.spec.ts",
        "src/tax.test.tsx",
        "src/__tests__/tax.js",
        "src/tax-test.js",
        "src/tax.e2e.ts",
        "cypress/login.cy.ts",
        "tax/tax_test.go",
        "tax/testdata/tax.go",
        "src/test/java/com/acme/Tax.java",
        "src/com/acme/TaxTest.java",
        "src/com/acme/TestTax.java",
        "src/com/acme/TaxTests.java",
        "src/com/acme/TaxIT.java",
        "src/androidTest/Tax.kt",
        "Acme.Billing.Tests/Invoice.cs",
        "src/InvoiceTests.cs",
        "src/InvoiceSpecs.cs",
        "spec/tax_spec.rb",
        "lib/spec_helper.rb",
        "t/tax.t",
        "t/lib/Tax.pm",
        "TaxTest.php",
        "TaxSpec.scala",
        "tax_unittest.cc",
        "run.bats",
        "src/functionalTest/groovy/Tax.groovy",
        "tax/src/commonTest/kotlin/Tax.kt",
        "tax/src/jvmTest/kotlin/Tax.kt",
        "internal/testutil/db.go",
        "src/testutils/tax.ts",
        "lib/test_utils/tax.py",
        "tax/testhelpers/tax.go",
    ],
)
def test_names_of_test_files(path: str) -> None:
    assert is_test_file(path)


@pytest.mark.parametrize(
    "path",
    [
        "src/contest.py",
        "src/latest.ts",
        "src/attestation/tax.go",
        "src/Attest.java",
        "src/Latest.cs",
        "src/Inspector.java",
        "src/specification.py",
        "src/t.py",
        "src/testament.py",
        "src/features/tax.py",
        "src/Contests.cs",
        "src/SPLIT.java",
        "src/abTest/tax.ts",
        "src/contest/Tax.java",
    ],
)
def test_names_of_other_files(path: str) -> None:
    assert not is_test_file(path)
