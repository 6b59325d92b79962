"""The user id that goes along when a profile is told by its email: one answer, for sending and for comparing."""

from __future__ import annotations


def user_id_of(profile: str, identity_type: str, identity_value: str) -> str:
    """SQL: a query of the profile's user id, as `value`; its arguments are column names. Reads :user_id_once.

    Where :user_id_once is true only the profile's first email has it beside it: the destination tells users apart by
    it, and a second email would be taken for a new email of the first one's user.
    """
    return f"""
      SELECT identities.value FROM identities
      WHERE identities.profile_id = {profile} AND identities.type = 'user_id'
        AND (NOT CAST(:user_id_once AS boolean) OR {identity_type} <> 'email' OR {identity_value} = (
          SELECT email.value FROM identities AS email
          WHERE email.profile_id = {profile} AND email.type = 'email'
          ORDER BY email.id LIMIT 1
        ))
      ORDER BY identities.id LIMIT 1
    """  # noqa: S608 - names of columns, from this package
