"""The version of the code, recorded in every manifest."""

VERSION = "0.1.0"
