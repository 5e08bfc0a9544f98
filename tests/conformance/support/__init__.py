# SPDX-License-Identifier: Apache-2.0
"""What the conformance tests share: models, servers, requests."""
