"""The sample shop's tables, and what is made after the first load: indexes, triggers and views.

It holds on purpose what real shops hold and a copy must keep: references in a circle (orders and invoices, customers
and partners), references to the own table and to a composite key, a table without any key (`clicks`, with true
duplicates), one without row ids (`settings`, whose `value` mixes types), AUTOINCREMENT, generated columns of both
kinds, a partial and a NOCASE index, floats and blobs. Money is whole cents beside a currency; times are ISO text.
"""

from __future__ import annotations

__all__ = ["APPLICATION_ID", "COLUMNS", "DEPENDENTS", "TABLES", "USER_VERSION", "insert_statement"]

APPLICATION_ID = 0x53484F50  # "SHOP"
USER_VERSION = 14

TABLES = """
CREATE TABLE tenants (
  id INTEGER PRIMARY KEY, slug TEXT NOT NULL UNIQUE COLLATE NOCASE, name TEXT NOT NULL, language TEXT NOT NULL,
  currency TEXT NOT NULL CHECK (length(currency) = 3), plan TEXT NOT NULL, created_at TEXT NOT NULL
);
CREATE TABLE settings (
  tenant_id INTEGER NOT NULL REFERENCES tenants (id), name TEXT NOT NULL, value, updated_at TEXT NOT NULL,
  PRIMARY KEY (tenant_id, name)
) WITHOUT ROWID;
CREATE TABLE partners (
  id INTEGER PRIMARY KEY, tenant_id INTEGER NOT NULL REFERENCES tenants (id),
  customer_id INTEGER REFERENCES customers (id) ON DELETE SET NULL DEFERRABLE INITIALLY DEFERRED,
  recruited_by INTEGER REFERENCES partners (id), name TEXT NOT NULL, code TEXT NOT NULL, rate REAL NOT NULL,
  wallet TEXT, created_at TEXT NOT NULL
);
CREATE TABLE customers (
  id INTEGER PRIMARY KEY, tenant_id INTEGER NOT NULL REFERENCES tenants (id),
  partner_id INTEGER REFERENCES partners (id), email TEXT NOT NULL, name TEXT NOT NULL, phone TEXT NOT NULL,
  street TEXT NOT NULL, city TEXT NOT NULL, postcode TEXT NOT NULL, country TEXT NOT NULL, language TEXT NOT NULL,
  newsletter INTEGER NOT NULL DEFAULT 0, created_at TEXT NOT NULL, updated_at TEXT NOT NULL
);
CREATE TABLE products (
  id INTEGER PRIMARY KEY, tenant_id INTEGER NOT NULL REFERENCES tenants (id), sku TEXT NOT NULL, name TEXT NOT NULL,
  price_cents INTEGER NOT NULL, weight_kg REAL, is_digital INTEGER NOT NULL DEFAULT 0, stock INTEGER NOT NULL,
  sold INTEGER NOT NULL DEFAULT 0, created_at TEXT NOT NULL
);
CREATE TABLE orders (
  id INTEGER PRIMARY KEY, tenant_id INTEGER NOT NULL REFERENCES tenants (id),
  customer_id INTEGER NOT NULL REFERENCES customers (id), partner_id INTEGER REFERENCES partners (id),
  invoice_id INTEGER REFERENCES invoices (id) DEFERRABLE INITIALLY DEFERRED, number TEXT NOT NULL, status TEXT NOT NULL,
  currency TEXT NOT NULL, goods_cents INTEGER NOT NULL, shipping_cents INTEGER NOT NULL,
  discount_cents INTEGER NOT NULL DEFAULT 0,
  total_cents INTEGER GENERATED ALWAYS AS (goods_cents + shipping_cents - discount_cents) STORED,
  ship_name TEXT NOT NULL, ship_street TEXT NOT NULL, ship_city TEXT NOT NULL, ship_postcode TEXT NOT NULL,
  ship_country TEXT NOT NULL, ship_method TEXT NOT NULL, email TEXT NOT NULL, phone TEXT NOT NULL, tracking TEXT,
  note TEXT, created_at TEXT NOT NULL, paid_at TEXT, shipped_at TEXT, updated_at TEXT NOT NULL
);
CREATE TABLE order_lines (
  order_id INTEGER NOT NULL REFERENCES orders (id) ON DELETE CASCADE, line_no INTEGER NOT NULL,
  product_id INTEGER NOT NULL REFERENCES products (id), sku TEXT NOT NULL, name TEXT NOT NULL,
  quantity INTEGER NOT NULL CHECK (quantity > 0), unit_cents INTEGER NOT NULL,
  total_cents INTEGER GENERATED ALWAYS AS (quantity * unit_cents) VIRTUAL,
  PRIMARY KEY (order_id, line_no)
);
CREATE TABLE payments (
  id INTEGER PRIMARY KEY, order_id INTEGER NOT NULL REFERENCES orders (id), provider TEXT NOT NULL,
  provider_reference TEXT NOT NULL, amount_cents INTEGER NOT NULL, fee_cents INTEGER NOT NULL, currency TEXT NOT NULL,
  status TEXT NOT NULL, created_at TEXT NOT NULL
);
CREATE TABLE invoices (
  id INTEGER PRIMARY KEY, tenant_id INTEGER NOT NULL REFERENCES tenants (id),
  order_id INTEGER NOT NULL REFERENCES orders (id), number TEXT NOT NULL, bill_to TEXT NOT NULL,
  total_cents INTEGER NOT NULL, currency TEXT NOT NULL, issued_at TEXT NOT NULL, paid_at TEXT
);
CREATE TABLE commissions (
  id INTEGER PRIMARY KEY, partner_id INTEGER NOT NULL REFERENCES partners (id),
  order_id INTEGER NOT NULL REFERENCES orders (id), rate REAL NOT NULL, amount_cents INTEGER NOT NULL,
  currency TEXT NOT NULL, status TEXT NOT NULL, created_at TEXT NOT NULL
);
CREATE TABLE licence_keys (
  id INTEGER PRIMARY KEY, tenant_id INTEGER NOT NULL REFERENCES tenants (id), order_id INTEGER NOT NULL,
  line_no INTEGER NOT NULL, code TEXT NOT NULL, certificate BLOB NOT NULL, activated_at TEXT,
  FOREIGN KEY (order_id, line_no) REFERENCES order_lines (order_id, line_no)
);
CREATE TABLE top_ups (
  id INTEGER PRIMARY KEY AUTOINCREMENT, tenant_id INTEGER NOT NULL REFERENCES tenants (id),
  customer_id INTEGER NOT NULL REFERENCES customers (id), payment_code TEXT NOT NULL, amount_cents INTEGER NOT NULL,
  currency TEXT NOT NULL, status TEXT NOT NULL, created_at TEXT NOT NULL, used_at TEXT
);
CREATE TABLE clicks (
  tenant_id INTEGER NOT NULL REFERENCES tenants (id), partner_id INTEGER REFERENCES partners (id), product_id INTEGER,
  page TEXT, clicked_at TEXT NOT NULL
);
CREATE TABLE audit_log (
  id INTEGER PRIMARY KEY AUTOINCREMENT, tenant_id INTEGER NOT NULL REFERENCES tenants (id), order_id INTEGER NOT NULL,
  old_status TEXT NOT NULL, new_status TEXT NOT NULL, at TEXT NOT NULL
);
"""

DEPENDENTS = """
CREATE INDEX customers_email ON customers (tenant_id, email COLLATE NOCASE);
CREATE INDEX partners_customer ON partners (customer_id);
CREATE UNIQUE INDEX partners_code ON partners (tenant_id, code);
CREATE UNIQUE INDEX products_sku ON products (tenant_id, sku);
CREATE INDEX orders_customer ON orders (customer_id);
CREATE INDEX orders_tenant_created ON orders (tenant_id, created_at);
CREATE INDEX orders_invoice ON orders (invoice_id) WHERE invoice_id IS NOT NULL;
CREATE INDEX payments_order ON payments (order_id);
CREATE UNIQUE INDEX invoices_order ON invoices (order_id);
CREATE INDEX commissions_order ON commissions (order_id);
CREATE UNIQUE INDEX licence_keys_code ON licence_keys (code);
CREATE INDEX licence_keys_line ON licence_keys (order_id, line_no);
CREATE UNIQUE INDEX top_ups_code ON top_ups (payment_code);
CREATE INDEX top_ups_customer ON top_ups (customer_id);

CREATE TRIGGER order_lines_take_stock AFTER INSERT ON order_lines BEGIN
  UPDATE products SET stock = stock - NEW.quantity * (is_digital = 0), sold = sold + NEW.quantity
  WHERE id = NEW.product_id;
END;
CREATE TRIGGER orders_audit_status AFTER UPDATE OF status ON orders WHEN OLD.status <> NEW.status BEGIN
  INSERT INTO audit_log (tenant_id, order_id, old_status, new_status, at)
  VALUES (NEW.tenant_id, NEW.id, OLD.status, NEW.status, NEW.updated_at);
END;

CREATE VIEW tenant_revenue AS
  SELECT t.slug, o.currency, count(*) AS orders, sum(o.total_cents) AS total_cents
  FROM orders AS o JOIN tenants AS t ON t.id = o.tenant_id
  WHERE o.status IN ('paid', 'shipped', 'delivered') GROUP BY t.slug, o.currency;
CREATE VIEW open_invoices AS
  SELECT i.number, i.total_cents, i.currency, i.issued_at, c.email
  FROM invoices AS i JOIN orders AS o ON o.id = i.order_id JOIN customers AS c ON c.id = o.customer_id
  WHERE i.paid_at IS NULL;
CREATE VIEW partner_balances AS
  SELECT p.code, p.name, c.currency, sum(c.amount_cents) AS amount_cents
  FROM commissions AS c JOIN partners AS p ON p.id = c.partner_id WHERE c.status = 'due' GROUP BY p.id, c.currency;
"""

# The columns that rows are written with, in order: all but the generated ones.
COLUMNS: dict[str, tuple[str, ...]] = {
    table: tuple(columns.split())
    for table, columns in {
        "tenants": "id slug name language currency plan created_at",
        "settings": "tenant_id name value updated_at",
        "partners": "id tenant_id customer_id recruited_by name code rate wallet created_at",
        "customers": "id tenant_id partner_id email name phone street city postcode country language newsletter "
        "created_at updated_at",
        "products": "id tenant_id sku name price_cents weight_kg is_digital stock sold created_at",
        "orders": "id tenant_id customer_id partner_id invoice_id number status currency goods_cents shipping_cents "
        "discount_cents ship_name ship_street ship_city ship_postcode ship_country ship_method email phone tracking "
        "note created_at paid_at shipped_at updated_at",
        "order_lines": "order_id line_no product_id sku name quantity unit_cents",
        "payments": "id order_id provider provider_reference amount_cents fee_cents currency status created_at",
        "invoices": "id tenant_id order_id number bill_to total_cents currency issued_at paid_at",
        "commissions": "id partner_id order_id rate amount_cents currency status created_at",
        "licence_keys": "id tenant_id order_id line_no code certificate activated_at",
        "top_ups": "id tenant_id customer_id payment_code amount_cents currency status created_at used_at",
        "clicks": "tenant_id partner_id product_id page clicked_at",
        "audit_log": "id tenant_id order_id old_status new_status at",
    }.items()
}


def insert_statement(table: str) -> str:
    """The INSERT that takes one row of `COLUMNS[table]`."""
    columns = COLUMNS[table]
    return f"INSERT INTO {table} ({', '.join(columns)}) VALUES ({', '.join('?' * len(columns))})"
